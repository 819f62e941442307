/** What a part is, as the server's messages say it. */
export interface PartPlace {
  kind: string;
  position?: number | null;
  block?: number | null;
  head?: number | null;
  expert?: number | null;
}

/** The name of a part on the wire: `head.24.4`, `mlp.3`, `expert.5.17`, `token.17`. */
export function partName({ kind, position, block, head, expert }: PartPlace): string {
  return [kind, kind === "token" ? position : block, head, expert]
    .filter((each) => each !== null && each !== undefined)
    .join(".");
}

/** The position of a word of the text, `token.17`; -1 for any other part. */
export function positionOfPart(part: string | null): number {
  return part?.startsWith("token.") ? Number(part.slice(6)) : -1;
}
