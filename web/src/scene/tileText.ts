import type { Token } from "../protocol/schema.generated";

/** What a tile shows of a token: control characters and lone spaces made visible, the space before a word left to the gap. */
export function tileText(text: string): string {
  if (text === "") return "∅";
  if (/^ +$/.test(text)) return "␣".repeat(Math.min(4, text.length));
  return text
    .replace(/^ /, "")
    .replace(/\r\n|\n/g, "⏎")
    .replace(/\t/g, "⇥")
    .replace(/\p{Cc}/gu, "·");
}

/** How a tile's text is set, in units of the tile's text size. */
export function tileFace({ special }: Pick<Token, "special">): { face: "mono" | "sans"; size: number } {
  return special ? { face: "mono", size: 0.8 } : { face: "sans", size: 1 };
}

/** What tiles side by side show: where two would read alike, the one that begins with a space marks it. */
export function tileTexts(texts: readonly string[]): string[] {
  const shown = texts.map(tileText);
  return shown.map((text, index) => {
    const isDouble = shown.some((other, at) => at !== index && other === text);
    return isDouble && texts[index]?.startsWith(" ") && !text.startsWith("␣") ? `·${text}` : text;
  });
}
