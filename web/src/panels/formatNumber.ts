const MINUS = "−";
const THIN_SPACE = "\u2009";

/** A value to so many significant digits: real minus sign, thin spaces in large numbers, exponents beyond 1e6 and below 1e−3. */
export function formatNumber(value: number | null | undefined, digits = 3): string {
  if (value === null || value === undefined) return "–";
  if (Number.isNaN(value)) return "not a number";
  if (!Number.isFinite(value)) return value < 0 ? `${MINUS}∞` : "∞";
  if (value === 0) return "0";
  const magnitude = Math.abs(value);
  const sign = value < 0 ? MINUS : "";
  if (magnitude >= 1e6 || magnitude < 1e-3) {
    const [mantissa = "", exponent = "0"] = magnitude.toExponential(digits - 1).split("e");
    return `${sign}${mantissa}e${exponent.replace("+", "").replace("-", MINUS)}`;
  }
  return sign + groupThousands(toDigits(magnitude, digits));
}

/** The value in full, as float32 prints it back exactly. */
export function formatExactly(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  if (!Number.isFinite(value)) return formatNumber(value);
  return shortestFloat32(value).replace("-", MINUS);
}

export function formatCount(count: number): string {
  return groupThousands(String(Math.round(count)));
}

/** A count for people: 1.3 M, 134 M, 7.6 k. */
export function formatLarge(count: number): string {
  for (const [size, unit] of [
    [1e12, "T"],
    [1e9, "B"],
    [1e6, "M"],
    [1e3, "k"],
  ] as const) {
    const amount = count / size;
    if (amount >= 1) return `${amount >= 99.5 ? Math.round(amount) : amount.toPrecision(2)} ${unit}`;
  }
  return String(count);
}

/** Bytes for people, in decimal units as the server says them: 349.2 GB, 12 kB. */
export function formatBytes(count: number): string {
  for (const [size, unit] of [
    [1e12, "TB"],
    [1e9, "GB"],
    [1e6, "MB"],
  ] as const) {
    if (count >= size) return `${(count / size).toFixed(1)} ${unit}`;
  }
  return `${(count / 1e3).toFixed(count < 1e4 ? 1 : 0)} kB`;
}

/** A probability as per cent; tiny ones say that they are below what is shown. */
export function formatPercent(probability: number): string {
  const percent = probability * 100;
  if (percent === 0) return "0 %";
  if (percent < 0.01) return "< 0.01 %";
  if (percent > 99.99 && percent < 100) return "> 99.99 %";
  return `${toDigits(percent, percent >= 10 ? 3 : 2)} %`;
}

function toDigits(magnitude: number, digits: number): string {
  const integerDigits = Math.max(1, Math.floor(Math.log10(magnitude)) + 1);
  if (integerDigits >= digits) return Math.round(magnitude).toFixed(0);
  return magnitude.toPrecision(digits).includes("e")
    ? magnitude.toFixed(0)
    : Number(magnitude).toPrecision(digits);
}

function groupThousands(text: string): string {
  const [whole = "", fraction] = text.split(".");
  if (whole.length < 5) return text;
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, THIN_SPACE);
  return fraction === undefined ? grouped : `${grouped}.${fraction}`;
}

/** The fewest digits that read back as the same float32: nine always do. */
function shortestFloat32(value: number): string {
  for (let digits = 6; digits < 9; digits += 1) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) === Math.fround(value)) return String(Number(text));
  }
  return String(Number(value.toPrecision(9)));
}
