/** Which rows are there: runs of them, apart from each other and in order. */
export class RowSpans {
  #spans: [start: number, stop: number][] = [];

  /** The row after the last one. */
  get end(): number {
    return this.#spans.at(-1)?.[1] ?? 0;
  }

  get all(): [start: number, stop: number][] {
    return this.#spans;
  }

  add(start: number, stop: number): void {
    if (stop <= start) return;
    const apart = this.#spans.filter(([first, last]) => last < start || first > stop);
    const joined = this.#spans.filter(([first, last]) => last >= start && first <= stop);
    const own = [
      Math.min(start, ...joined.map(([first]) => first)),
      Math.max(stop, ...joined.map(([, last]) => last)),
    ] as [number, number];
    this.#spans = [...apart, own].sort(([one], [other]) => one - other);
  }

  /** Only the first `count` stay. */
  keep(count: number): void {
    this.#spans = this.#spans
      .map(([start, stop]): [number, number] => [start, Math.min(stop, count)])
      .filter(([start, stop]) => stop > start);
  }

  /** Runs of the first `count` that are not there. */
  gaps(count: number): [start: number, stop: number][] {
    const gaps: [number, number][] = [];
    let reached = 0;
    for (const [start, stop] of this.#spans) {
      if (start >= count) break;
      if (start > reached) gaps.push([reached, start]);
      reached = stop;
    }
    if (reached < count) gaps.push([reached, count]);
    return gaps;
  }
}
