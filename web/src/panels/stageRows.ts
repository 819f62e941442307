import type { Candidate, Distribution, Stage } from "../protocol/schema.generated";

export type FilterName = Stage["filter"];

/** One token before and after a filter, or before and after all of them. */
export interface StageRow {
  candidate: Candidate;
  before: number;
  after: number;
  /** The filter that had cut it by then. */
  cutBy: FilterName | null;
  chosen: boolean;
}

export interface StageRows {
  rows: StageRow[];
  /** Of the tokens that have no row. */
  rest: { count: number; before: number; after: number };
}

/** Rows kept for tokens that were cut, so that the edge shows even where much is left above it. */
const CUT_ROWS = 2;

/**
 * The tokens that matter to one filter: the likeliest before or after it, the likeliest it cut, and the chosen one, in
 * the model's own order. Without a filter, before and after all of them.
 */
export function stageRows(distribution: Distribution, filter: FilterName | null, count: number): StageRows {
  const { stages, candidates } = distribution;
  const at = stages.findIndex((stage) => stage.filter === filter);
  const rows = candidates.map((candidate) => rowOf(candidate, distribution, at));
  const byWeight = [...rows].sort((a, b) => weight(b) - weight(a));
  const cut = byWeight.filter((row) => row.cutBy !== null && (at < 0 || row.cutBy === filter));
  const wanted = [...rows.filter((row) => row.chosen), ...cut.slice(0, CUT_ROWS), ...byWeight];
  const likeliest = new Set([...new Set(wanted)].slice(0, count));
  const shown = rows.filter((row) => likeliest.has(row));
  return {
    rows: shown,
    rest: {
      count: distribution.rest_count + rows.length - shown.length,
      before: remainder(shown.map((row) => row.before)),
      after: remainder(shown.map((row) => row.after)),
    },
  };
}

function weight({ before, after }: StageRow): number {
  return Math.max(before, after);
}

function rowOf(candidate: Candidate, { stages, chosen }: Distribution, at: number): StageRow {
  const cut = stages.findIndex((stage) => stage.filter === candidate.pruned_by);
  return {
    candidate,
    before: at > 0 ? (candidate.stages[at - 1] ?? 0) : candidate.probability,
    after: at >= 0 ? (candidate.stages[at] ?? 0) : candidate.filtered_probability,
    cutBy: cut >= 0 && (at < 0 || cut <= at) ? candidate.pruned_by : null,
    chosen: candidate.token.id === chosen,
  };
}

/** What is left of 1; less than a float32 sum can tell is nothing. */
function remainder(shares: number[]): number {
  const left = 1 - shares.reduce((sum, share) => sum + share, 0);
  return left < 1e-6 ? 0 : left;
}
