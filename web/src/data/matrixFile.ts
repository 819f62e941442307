import type { Matrix } from "../layout/Matrix";

/** A whole matrix as NumPy's own format, version 1.0: `numpy.load` gives it back to the bit. */
export function npyOf({ shape, values }: Pick<Matrix, "shape" | "values">): Uint8Array<ArrayBuffer> {
  const extent = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${extent}), }`;
  // Magic, version and length take ten bytes; the values begin at a multiple of 64.
  const padded = `${header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11)}\n`;
  const file = new Uint8Array(10 + padded.length + 4 * values.length);
  file.set([0x93, ...new TextEncoder().encode("NUMPY"), 1, 0]);
  const view = new DataView(file.buffer);
  view.setUint16(8, padded.length, true);
  file.set(new TextEncoder().encode(padded), 10);
  for (const [at, value] of values.entries()) view.setFloat32(10 + padded.length + 4 * at, value, true);
  return file;
}

/**
 * The last two axes at one index of those before them as a table, with the indices of both along its edges. Numbers are
 * the shortest that give the same float32 again; a masked cell is empty.
 */
export function csvOf(
  { axes, shape, values }: Omit<Matrix, "address" | "level">,
  index: readonly number[],
): string {
  const columns = shape.at(-1) ?? 1;
  const rows = shape.length > 1 ? (shape.at(-2) ?? 1) : 1;
  const plane = shape
    .slice(0, -2)
    .reduce((offset, size, axis) => offset * size + Math.min(index[axis] ?? 0, size - 1), 0);
  const start = plane * rows * columns;
  const heading = `${axes.at(-2) ?? "row"}\\${axes.at(-1) ?? "column"}`;
  const lines = [[heading, ...Array.from({ length: columns }, (_, column) => column)].join(",")];
  for (let row = 0; row < rows; row += 1) {
    const cells = values.subarray(start + row * columns, start + (row + 1) * columns);
    lines.push([row, ...Array.from(cells, shortest)].join(","));
  }
  return `${lines.join("\n")}\n`;
}

/** The shortest decimal that is this float32. */
function shortest(value: number): string {
  if (value === Number.NEGATIVE_INFINITY) return "";
  for (let digits = 6; digits <= 9; digits += 1) {
    const text = Number(value.toPrecision(digits));
    if (Math.fround(text) === value) return String(text);
  }
  return String(value);
}
