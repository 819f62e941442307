/** A piece of a sentence: words, or something that can be pressed. */
export type Piece = string | PressPiece;

export interface PressPiece {
  text: string;
  /** Pressing it switches this part off, */
  part?: string;
  /** or holds the decision against this word. */
  against?: number;
  /** The word itself, which stands out. */
  strong?: boolean;
}

const EDGE = "\u0001";

/** What stands in a sentence of the dictionary where a piece comes. */
export function slot(name: string): string {
  return EDGE + name + EDGE;
}

/** Puts pieces into the slots of a sentence. */
export function fillSlots(sentence: string, pieces: Readonly<Record<string, Piece | Piece[]>>): Piece[] {
  return sentence
    .split(EDGE)
    .flatMap((text, at): Piece | Piece[] => (at % 2 === 0 ? text : (pieces[text] ?? "")))
    .filter((piece) => piece !== "");
}

/** The same as plain text. */
export function plainText(pieces: readonly Piece[]): string {
  return pieces.map((piece) => (typeof piece === "string" ? piece : piece.text)).join("");
}
