/** Numbers as Python writes them, to the last digit: the same explanation reads the same wherever it was made. */

/** Digits enough to tell exactly half a step from every number beside it. */
const MORE = 40;

/** Halfway between two, Python takes the one that ends in an even digit, JavaScript the larger. */
function roundEven(write: (decimals: number) => string, decimals: number): string {
  const [long = "", exponent] = write(decimals + MORE).split("e");
  const kept = long.slice(0, -MORE);
  const isEvenBelow = /[02468]$/.test(kept) && /^50*$/.test(long.slice(-MORE));
  if (!isEvenBelow) return write(decimals);
  return exponent === undefined ? kept : `${kept}e${exponent}`;
}

/** Four significant digits; a zero has no sign. */
export function significant(value: number): string {
  if (Number.isNaN(value)) return "nan";
  const sign = value < 0 ? "-" : "";
  if (!Number.isFinite(value)) return `${sign}inf`;
  const [mantissa = "", exponent] = roundEven((count) => Math.abs(value).toExponential(count), 3).split("e");
  const power = Number(exponent);
  const trimmed = (text: string) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  if (power >= -4 && power < 4) return sign + trimmed(Number(`${mantissa}e${power}`).toFixed(3 - power));
  const digits = `${Math.abs(power)}`.padStart(2, "0");
  return `${sign}${trimmed(mantissa)}e${power < 0 ? "-" : "+"}${digits}`;
}

/** The same in LaTeX. */
export function number(value: number): string {
  if (Number.isNaN(value)) return "\\mathrm{NaN}";
  if (!Number.isFinite(value)) return value < 0 ? "-\\infty" : "\\infty";
  const [mantissa = "", power] = significant(value).split("e");
  return power === undefined ? mantissa : `${mantissa} \\cdot 10^{${Number(power)}}`;
}

/** A share in hundredths, with one digit after the point. */
export function hundredths(share: number): string {
  return Number.isNaN(share) ? "nan%" : `${roundEven((count) => (100 * share).toFixed(count), 1)}%`;
}

/** Negative numbers in brackets, so that signs do not collide. */
export function bracket(text: string): string {
  return text.startsWith("-") ? `(${text})` : text;
}
