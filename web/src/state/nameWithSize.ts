import type { Anatomy } from "../protocol/schema.generated";

const UNITS = [
  [1e12, "T"],
  [1e9, "B"],
  [1e6, "M"],
  [1e3, "k"],
] as const;

/** A model's name and how many parameters it has: `GPT-3 · 175 B`. */
export function nameWithSize({ title, parameters }: Pick<Anatomy, "title" | "parameters">): string {
  return `${title} · ${sayLarge(parameters)}`;
}

/** A count to three digits: `8.03 B`. */
export function sayLarge(count: number): string {
  const [size, unit] = UNITS.find(([size]) => count >= size) ?? [1, ""];
  return `${Number((count / size).toPrecision(3))} ${unit}`.trimEnd();
}
