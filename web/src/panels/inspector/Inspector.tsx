import type { TFunction } from "i18next";
import { useEffect, useMemo } from "react";
import { useTranslation } from "react-i18next";
import type { Cell } from "../../layout/Cell";
import type { Matrix } from "../../layout/Matrix";
import { findSite, findWeight, type NotInspected, tokenAt, whyNotInspected } from "../../state/selectors";
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
import { WeightNote } from "./WeightNote";

/** The selected cell and the matrix it stands in: picture, statistics, and how the cell was computed. */
export default function Inspector() {
  const { t } = useTranslation();
  const { selection, inspected, isWeight } = useApp((state) => ({
    selection: state.selection,
    inspected: state.inspected,
    isWeight: findWeight(state.anatomy, state.selection?.address ?? "") !== null,
  }));
  const hindrance = useApp((state) => state.selection && whyNotInspected(state, state.selection));
  if (!selection) return null;
  if (hindrance) {
    return (
      <div className="inspector-body">
        <p className="hint hint-warning" data-testid="inspector-hindrance">
          {describeHindrance(hindrance, t)}
        </p>
      </div>
    );
  }
  const matrix = inspected.value?.address === selection.address ? inspected.value : null;
  return (
    <div className="inspector-body">
      <CellValue cell={selection} matrix={matrix} />
      <CellIndices address={selection.address} index={selection.index} />
      {inspected.error && <p className="failure">{inspected.error}</p>}
      {matrix ? (
        <MatrixView cell={selection} matrix={matrix} />
      ) : (
        !inspected.error && <p className="hint">{t("inspector.loading")}</p>
      )}
      {isWeight ? <WeightNote name={selection.address} /> : <ExplanationView />}
    </div>
  );
}

function describeHindrance(hindrance: NotInspected, t: TFunction): string {
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
  const scale = useApp((state) => findSite(state.anatomy, cell.address)?.scale ?? "diverging");
  const leading = cell.index.slice(0, -2).join();
  // biome-ignore lint/correctness/useExhaustiveDependencies: only the leading indices choose the plane
  const plane = useMemo(() => planeOf(matrix, cell.index), [matrix, leading]);
  const description = useMemo(() => describeValues(plane.values), [plane]);
  const limit = legend?.limit ?? (scale === "probability" ? 1 : description.usualMagnitude);
  const { cellsPerSide, rowAxis, columnAxis } = plane;

  useEffect(() => {
    store.setState({ heatMapLegend: { address: cell.address, scale, limit } });
    return () => store.setState({ heatMapLegend: null });
  }, [store, cell.address, scale, limit]);
  useEffect(() => () => commands.pointAt(null), [commands]);

  const labelOf = (axis: string, index: number): string => {
    const token = tokenAt(store.getState(), axis, index * cellsPerSide);
    return token ? plainToken(token) : String(index * cellsPerSide);
  };
  const cellOf = ({ row, column }: PlaneCell): Cell => {
    const last = column * cellsPerSide;
    const index = rowAxis === null ? [last] : [...cell.index.slice(0, -2), row * cellsPerSide, last];
    return { address: cell.address, index };
  };

  return (
    <>
      <PlaneSelector cell={cell} matrix={matrix} />
      <HeatMap
        address={cell.address}
        plane={plane}
        limit={limit}
        scale={scale}
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
