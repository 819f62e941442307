/** The words that stand at parts of a layout: the page has them in one dictionary. */
export interface LayoutTexts {
  /** `block 3` */
  block(index: number): string;
  /** What a site holds, `keys of key/value head 1`; null for one that has no words. */
  site(address: string, axes: readonly string[], lead: number): string | null;
  /** `attn_probs.3 · head 4` */
  head(address: string, head: number): string;
  /** Of that many experts so many are drawn. */
  experts(name: string, shown: number, count: number): string;
  /** Why these cannot be shown. */
  because(what: string, reason: string): string;
  /** The reason where none is told. */
  readonly unexplained: string;
  stream(width: number): Title;
  /** What mixes positions, and in how many blocks: by attention, and by something else; null where nothing does. */
  mixing(of: { heads: number; attends: number; mixes: number }): Title | null;
  /** What stands on the other side: in so many blocks an MLP, in so many experts. */
  mlps(of: { width: number; dense: number; experts: number; routed: number }): Title | null;
}

/** What a part is, and what stands instead where there is no room for it. */
export interface Title {
  full: string;
  short: string;
}
