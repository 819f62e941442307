import { type ColourScale, colourOf, RAMPS } from "../colourScale";
import { type Plane, valueAt } from "../inspector/planeOf";

interface HeatMapPicture {
  title: string;
  plane: Plane;
  colours: ColourScale;
  rowLabel(row: number): string;
  columnLabel(column: number): string;
}

const CELL = 12;
/** More rectangles than this no program opens gladly; rows and columns beyond are left out, and it says so. */
const MOST_CELLS = 40_000;
const LABEL_WIDTH = 96;
const FONT = "ui-monospace, monospace";

/** A heat map as a drawing: one rectangle a cell, its value as a title, tokens and indices along its edges. */
export function heatMapSvg({ title, plane, colours, rowLabel, columnLabel }: HeatMapPicture): string {
  const columns = Math.min(plane.columns, MOST_CELLS);
  const rows = Math.max(1, Math.min(plane.rows, Math.floor(MOST_CELLS / columns)));
  const [width, height] = [LABEL_WIDTH + columns * CELL + 8, LABEL_WIDTH + rows * CELL + 8];
  const { theme } = colours;
  const ink = theme === "dark" ? "#e6ebf4" : "#172133";
  const ground = css(RAMPS[theme].ground);
  const cells: string[] = [];
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      const value = valueAt(plane, row, column) ?? Number.NaN;
      const colour = colourOf(value, colours);
      if (!colour) continue;
      const at = `x="${LABEL_WIDTH + column * CELL}" y="${LABEL_WIDTH + row * CELL}"`;
      const told = `${rowLabel(row)} ${columnLabel(column)}: ${value}`;
      cells.push(
        `<rect ${at} width="${CELL}" height="${CELL}" fill="${css(colour)}"><title>${escapeXml(told)}</title></rect>`,
      );
    }
  }
  const rowNames = Array.from({ length: rows }, (_, row) => {
    const y = LABEL_WIDTH + (row + 0.75) * CELL;
    return `<text x="${LABEL_WIDTH - 4}" y="${y}" text-anchor="end">${escapeXml(rowLabel(row))}</text>`;
  });
  const columnNames = Array.from({ length: columns }, (_, column) => {
    const x = LABEL_WIDTH + (column + 0.75) * CELL;
    return `<text transform="translate(${x} ${LABEL_WIDTH - 4}) rotate(-90)">${escapeXml(columnLabel(column))}</text>`;
  });
  const isCut = rows < plane.rows || columns < plane.columns;
  const note = isCut ? ` (${rows} x ${columns} of ${plane.rows} x ${plane.columns})` : "";
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">`,
    `<title>${escapeXml(title + note)}</title>`,
    `<rect width="100%" height="100%" fill="${ground}"/>`,
    `<g fill="${ink}" font-family="${FONT}" font-size="9">`,
    ...rowNames,
    ...columnNames,
    "</g>",
    ...cells,
    "</svg>\n",
  ].join("\n");
}

function css(colour: readonly number[]): string {
  return `rgb(${colour.map(Math.round).join(" ")})`;
}

function escapeXml(text: string): string {
  return text.replace(/[<>&"]/g, (letter) => `&#${letter.charCodeAt(0)};`);
}
