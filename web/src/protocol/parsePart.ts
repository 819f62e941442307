/** A part by its kind, its block and its number, as in `head.24.4`, or a word of the text, as in `token.17`. */
export interface PartOfModel {
  kind: "token" | "attention" | "head" | "mlp" | "expert" | "mixer";
  position?: number | null;
  block?: number | null;
  head?: number | null;
  expert?: number | null;
}

/** As `PART_NAME` of the protocol. */
const PART_NAME = /^(token\.\d{1,9}|(attention|mlp|mixer)\.\d{1,5}|(head|expert)\.\d{1,5}\.\d{1,5})$/;

/** So many parts the server switches off together. */
export const MOST_PARTS = 32;

export function isPartName(text: string): boolean {
  return PART_NAME.test(text);
}

/** The part that a name stands for; null for what is no name of a part. */
export function parsePartName(name: string): PartOfModel | null {
  if (!isPartName(name)) return null;
  const [kind = "", first = "0", second = "0"] = name.split(".");
  switch (kind) {
    case "token":
      return { kind, position: Number(first) };
    case "head":
      return { kind, block: Number(first), head: Number(second) };
    case "expert":
      return { kind, block: Number(first), expert: Number(second) };
    case "attention":
    case "mlp":
    case "mixer":
      return { kind, block: Number(first) };
    default:
      return null;
  }
}
