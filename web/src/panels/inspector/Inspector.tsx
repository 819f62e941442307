import type { TFunction } from "i18next";
import { useEffect, useMemo } from "react";
import { useTranslation } from "react-i18next";
import type { Cell } from "../../layout/Cell";
import { leadOf } from "../../layout/leads";
import { rangeOf, unclipped } from "../../layout/Magnitudes";
import type { Matrix } from "../../layout/Matrix";
import type { AppState } from "../../state/AppState";
import { sayName } from "../../state/sayName";
import {
  axisNames,
  findSite,
  findWeight,
  type NotInspected,
  tokenAt,
  whyNotInspected,
} from "../../state/selectors";
import { useApp, useAppStore, useCommands } from "../AppContext";
import { CellIndices } from "../HoverCard";
import { plainToken } from "../splitToken";
import { CellValue } from "./CellValue";
import { describeValues } from "./describeValues";
import { ExplanationView } from "./ExplanationView";
import { HeatMap } from "./HeatMap";
import type { PlaneCell } from "./heatMapGeometry";
import { PlaneSelector } from "./PlaneSelector";
import { planeOf } from "./planeOf";
import { Statistics } from "./Statistics";
import { TensorShape } from "./TensorShape";
import { WeightNote } from "./WeightNote";

/** The selected cell and the matrix it stands in: picture, statistics, and how the cell was computed. */
export default function Inspector() {
  const { t } = useTranslation();
  const { selection, inspected, isLearned } = useApp((state) => ({
    selection: state.selection,
    inspected: state.inspected,
    isLearned: state.selection !== null && isWeight(state, state.selection),
  }));
  const words = useApp(
    (state) =>
      state.selection &&
      sayName(state.selection.address, axisNames(state, state.selection.address), state.selection.index[0]),
  );
  const hindrance = useApp((state) => state.selection && whyNotInspected(state, state.selection));
  if (!selection) return null;
  if (hindrance?.key === "shape") return <TensorShape address={selection.address} />;
  if (hindrance) {
    return (
      <div className="inspector-body">
        <p className="hint hint-warning" data-testid="inspector-hindrance">
          {describeHindrance(hindrance, t)}
        </p>
      </div>
    );
  }
  const { value: read } = inspected;
  const isShown = read?.address === selection.address && read.lead === leadOf(read.axes, selection.index);
  const matrix = isShown ? read : null;
  return (
    <div className="inspector-body">
      {words && <p className="inspector-words">{words}</p>}
      <CellValue cell={selection} matrix={matrix} />
      <CellIndices address={selection.address} index={selection.index} />
      {inspected.error && <p className="failure">{inspected.error}</p>}
      {matrix ? (
        <MatrixView cell={selection} matrix={matrix} />
      ) : (
        !inspected.error && <p className="hint">{t("inspector.loading")}</p>
      )}
      {isLearned ? <WeightNote name={selection.address} /> : <ExplanationView />}
    </div>
  );
}

function isWeight({ anatomy }: AppState, { address }: Cell): boolean {
  return findWeight(anatomy, address) !== null;
}

function describeHindrance(hindrance: Exclude<NotInspected, { key: "shape" }>, t: TFunction): string {
  switch (hindrance.key) {
    case "unknown":
      return t("inspector.unknown", hindrance);
    case "refused":
      return t("hover.refused", hindrance);
    case "indices":
      return t("inspector.indices", hindrance);
    case "outside":
      return t("inspector.outside", { ...hindrance, axis: t(`axes.${hindrance.axis}` as "axes.pos") });
  }
}

function MatrixView({ cell, matrix }: { cell: Cell; matrix: Matrix }) {
  const { t } = useTranslation();
  const store = useAppStore();
  const commands = useCommands();
  const theme = useApp((state) => state.theme);
  const legend = useApp((state) =>
    state.inspectedLegend?.address === cell.address ? state.inspectedLegend : null,
  );
  const scaling = useApp((state) => state.scaling);
  const scale = useApp(
    (state) =>
      findSite(state.anatomy, cell.address)?.scale ?? (isWeight(state, cell) ? "weight" : "diverging"),
  );
  const leading = cell.index.slice(0, -2).join();
  // biome-ignore lint/correctness/useExhaustiveDependencies: only the leading indices choose the plane
  const plane = useMemo(() => planeOf(matrix, cell.index), [matrix, leading]);
  const description = useMemo(() => describeValues(plane.values), [plane]);
  const range = useMemo(() => {
    if (legend) return legend;
    const own = rangeOf(plane.values);
    return scaling.logarithmic ? unclipped(own) : own;
  }, [legend, plane, scaling]);
  const { limit, largest, clipped } = range;
  const { cellsPerSide, rowAxis, columnAxis } = plane;

  useEffect(() => {
    store.setState({ heatMapLegend: { address: cell.address, scale, limit, largest, clipped } });
    return () => store.setState({ heatMapLegend: null });
  }, [store, cell.address, scale, limit, largest, clipped]);
  useEffect(() => () => commands.pointAt(null), [commands]);

  const labelOf = (axis: string, index: number): string => {
    const at = index * cellsPerSide;
    const isVocab = axis === "vocab";
    // A pool of the vocabulary is of many words: none of them names it.
    const token = isVocab && cellsPerSide > 1 ? null : tokenAt(store.getState(), axis, at);
    if (!token) return String(at);
    return isVocab ? `${at} ${plainToken(token)}` : plainToken(token);
  };
  const cellOf = ({ row, column }: PlaneCell): Cell => {
    const last = column * cellsPerSide;
    const index = rowAxis === null ? [last] : [...cell.index.slice(0, -2), row * cellsPerSide, last];
    return { address: cell.address, index };
  };

  return (
    <>
      <PlaneSelector cell={cell} />
      <HeatMap
        address={cell.address}
        plane={plane}
        limit={limit}
        scale={scale}
        logarithmic={scaling.logarithmic}
        theme={theme}
        selected={{
          row: rowAxis === null ? 0 : Math.floor((cell.index.at(-2) ?? 0) / cellsPerSide),
          column: Math.floor((cell.index.at(-1) ?? 0) / cellsPerSide),
        }}
        rowLabel={(row) => (rowAxis === null ? "" : labelOf(rowAxis, row))}
        columnLabel={(column) => labelOf(columnAxis, column)}
        onSelect={(target) => store.setState({ selection: cellOf(target) })}
        onHover={(target) => commands.pointAt(target && cellOf(target))}
      />
      {cellsPerSide > 1 && (
        <p className="hint">{t("inspector.level", { cells: `${cellsPerSide} × ${cellsPerSide}` })}</p>
      )}
      <Statistics description={description} />
    </>
  );
}
