const TOKEN_AXES = new Set(["pos", "query", "key"]);

/** Whether an axis counts tokens, and so grows with a recording. */
export function isTokenAxis(axis: string | undefined): boolean {
  return TOKEN_AXES.has(axis ?? "");
}
