import type { Token } from "../protocol/schema.generated";

/** A token's text cut into what can be read and what must be made visible. */
export interface TokenPart {
  kind: "text" | "mark" | "byte";
  text: string;
}

const MARKS: Record<string, string> = { " ": "·", "\n": "⏎", "\t": "⇥", "\r": "␍", "\u00a0": "⍽" };

/** White space becomes marks; an id that is only a part of a character decodes to U+FFFD and is named a byte. */
export function splitToken(token: Token): TokenPart[] {
  if (token.text === "") return [{ kind: "mark", text: "∅" }];
  const parts: TokenPart[] = [];
  for (const character of token.text) {
    const mark = MARKS[character] ?? nameControl(character);
    const kind = mark !== null ? "mark" : character === "\ufffd" ? "byte" : "text";
    const text = mark ?? (kind === "byte" ? "byte" : character);
    const last = parts.at(-1);
    if (last && last.kind === kind && kind !== "byte") last.text += text;
    else parts.push({ kind, text });
  }
  return parts;
}

/** Control characters have no glyph; their number stands for them. */
function nameControl(character: string): string | null {
  const code = character.codePointAt(0) ?? 0;
  const isControl = code < 0x20 || (code >= 0x7f && code < 0xa0);
  return isControl ? `\\x${code.toString(16).padStart(2, "0")}` : null;
}

/** The same on one line of plain text, for canvases, tooltips and screen readers. */
export function plainToken(token: Token | null | undefined): string {
  return token
    ? splitToken(token)
        .map((part) => (part.kind === "byte" ? "�" : part.text))
        .join("")
    : "";
}
