import type { AppState } from "../../state/AppState";
import { findSite, tokenAt } from "../../state/selectors";
import { planeOf } from "../inspector/planeOf";
import { plainToken } from "../splitToken";
import { heatMapSvg } from "./heatMapSvg";
import { saveFile } from "./saveFile";

/** Saves the heat map of the inspector as it is coloured there. */
export function saveHeatMap(state: AppState): void {
  const { selection, inspected, heatMapLegend, theme } = state;
  const matrix = inspected.value;
  if (!selection || !matrix || matrix.address !== selection.address) return;
  const plane = planeOf(matrix, selection.index);
  const nameOf = (axis: string | null, at: number) => {
    const index = at * plane.cellsPerSide;
    const isPool = axis === "vocab" && plane.cellsPerSide > 1;
    const token = axis === null || isPool ? null : tokenAt(state, axis, index);
    return token ? plainToken(token) : String(index);
  };
  const leading = selection.index.slice(0, -2).join(",");
  const title = leading === "" ? selection.address : `${selection.address} [${leading}]`;
  const svg = heatMapSvg({
    title,
    plane,
    colours: {
      limit: heatMapLegend?.limit ?? 1,
      scale: heatMapLegend?.scale ?? findSite(state.anatomy, selection.address)?.scale ?? "diverging",
      logarithmic: state.scaling.logarithmic,
      theme,
    },
    rowLabel: (row) => nameOf(plane.rowAxis, row),
    columnLabel: (column) => nameOf(plane.columnAxis, column),
  });
  saveFile(`${title.replaceAll(/[^\w.,-]+/g, "_")}.svg`, new Blob([svg], { type: "image/svg+xml" }));
}
