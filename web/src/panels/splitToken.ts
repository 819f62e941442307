import type { Token } from "../protocol/schema.generated";

/** A token's text cut into what can be read and what must be made visible. */
export interface TokenPart {
  kind: "text" | "mark" | "byte";
  text: string;
}

const UNKNOWN_BYTE = "byte";
const MARKS: Record<string, string> = { " ": "·", "\n": "⏎", "\t": "⇥", "\r": "␍", "\u00a0": "⍽" };
const UTF8 = new TextEncoder();

/** White space becomes marks; what is only a part of a character (U+FFFD) is told by its bytes, where they are known. */
export function splitToken(token: Token): TokenPart[] {
  if (token.text === "") return [{ kind: "mark", text: "∅" }];
  const [whole, bytes] = splitBytes(token);
  const parts: TokenPart[] = [];
  for (const character of whole) {
    const mark = MARKS[character] ?? nameControl(character);
    const kind = mark !== null ? "mark" : character === "\ufffd" ? "byte" : "text";
    const text = mark ?? (kind === "byte" ? UNKNOWN_BYTE : character);
    const last = parts.at(-1);
    if (last && last.kind === kind && kind !== "byte") last.text += text;
    else parts.push({ kind, text });
  }
  for (const byte of bytes) parts.push({ kind: "byte", text: nameByte(byte) });
  return parts;
}

/** The characters a token begins with, and the bytes after them, where it ends inside a character. */
function splitBytes({ text, bytes }: Token): [string, number[]] {
  const whole = text.replace(/\ufffd+$/, "");
  if (!bytes || whole === text || whole.includes("\ufffd")) return [text, []];
  return [whole, bytes.slice(UTF8.encode(whole).length)];
}

/** Control characters have no glyph; their number stands for them. */
function nameControl(character: string): string | null {
  const code = character.codePointAt(0) ?? 0;
  const isControl = code < 0x20 || (code >= 0x7f && code < 0xa0);
  return isControl ? nameByte(code) : null;
}

function nameByte(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, "0")}`;
}

/** The same on one line of plain text, for canvases, tooltips and screen readers. */
export function plainToken(token: Token | null | undefined): string {
  return token
    ? splitToken(token)
        .map((part) => (part.text === UNKNOWN_BYTE && part.kind === "byte" ? "�" : part.text))
        .join("")
    : "";
}
