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
