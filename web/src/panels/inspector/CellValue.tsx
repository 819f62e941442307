import { useState } from "react";
import { useTranslation } from "react-i18next";
import type { Cell } from "../../layout/Cell";
import { isMasked, isPattern } from "../../layout/isMasked";
import type { Matrix } from "../../layout/Matrix";
import { axisNames } from "../../state/selectors";
import { useApp } from "../AppContext";
import { formatExactly, formatNumber } from "../formatNumber";
import { planeOf, valueAt } from "./planeOf";

/** The value of the selected cell, to three digits or in full. */
export function CellValue({ cell, matrix }: { cell: Cell; matrix: Matrix | null }) {
  const { t } = useTranslation();
  const [exact, setExact] = useState(false);
  const explained = useApp(({ exactValue, explanation: { value } }) => {
    if (exactValue?.cell === cell) return exactValue.value;
    return value?.address === cell.address && value.index.join() === cell.index.join() ? value.value : null;
  });
  const value = readExactly(cell, matrix) ?? explained;
  const axes = useApp((state) => axisNames(state, cell.address));
  const [row = 0, column = 0] = cell.index.slice(-2);
  const masked = value !== null && isPattern(axes) && isMasked(value, row, column);
  return (
    <button
      type="button"
      className="cell-value mono"
      data-testid="inspector-value"
      data-value={value ?? undefined}
      title={t(exact ? "inspector.rounded" : "inspector.exact")}
      aria-live="polite"
      onClick={() => setExact(!exact)}
    >
      {masked ? t("hover.masked") : exact ? formatExactly(value) : formatNumber(value)}
    </button>
  );
}

/** Only level 0 holds the values themselves. */
function readExactly(cell: Cell, matrix: Matrix | null): number | null {
  if (matrix?.level !== 0) return null;
  const isVector = matrix.shape.length === 1;
  return valueAt(
    planeOf(matrix, cell.index),
    isVector ? 0 : (cell.index.at(-2) ?? 0),
    cell.index.at(-1) ?? 0,
  );
}
