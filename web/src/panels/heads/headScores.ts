import type { Effects, HeadScores, Heads, ScoredPositions } from "../../protocol/schema.generated";
import type { HeadPlace } from "../../state/AppState";
import { worthOf } from "../../state/whatMattered";

export const SCORES = ["previous", "first", "induction", "duplicate", "entropy", "worth"] as const;
export type ScoreName = (typeof SCORES)[number];

/** What a head can be called by: kinds of reading that have a name in the field. */
export const KINDS = ["previous", "first", "induction", "duplicate"] as const;
export type Kind = (typeof KINDS)[number];

/** A head is called by a kind from this share of its attention on: at most two places of the text can have so much. */
export const BADGE_SHARE = 0.4;

export interface HeadRow extends HeadPlace {
  /** Null where the text gives no position to tell by, or it is not tested yet. */
  values: Readonly<Record<ScoreName, number | null>>;
  entropyBits: number | null;
  over: ScoredPositions;
  badges: Kind[];
}

/** The heads of a model as a grid, by block and head; blocks whose heads cannot be shown are gaps in it. */
export interface AllHeads {
  rows: HeadRow[];
  blocks: number;
  columns: number;
  refused: ReadonlyMap<number, string>;
  at(block: number, head: number): HeadRow | null;
}

export function tabulateHeads(heads: Heads, effects: Effects | null): AllHeads {
  const worth = new Map(
    (effects?.parts ?? [])
      .filter((part) => part.kind === "head")
      .map((part) => [`${part.block}.${part.head}`, worthOf(part, effects as Effects)]),
  );
  const rows = heads.blocks.flatMap(({ block, over, heads: scores }) =>
    scores.map((each) => describeHead(block, each, over, worth.get(`${block}.${each.head}`) ?? null)),
  );
  const places = new Map(rows.map((row) => [`${row.block}.${row.head}`, row]));
  const refused = new Map((heads.refused ?? []).map(({ block, reason }) => [block, reason]));
  const numbers = [...heads.blocks.map(({ block }) => block), ...refused.keys()];
  return {
    rows,
    blocks: Math.max(-1, ...numbers) + 1,
    columns: Math.max(0, ...heads.blocks.map((each) => each.heads.length)),
    refused,
    at: (block, head) => places.get(`${block}.${head}`) ?? null,
  };
}

function describeHead(
  block: number,
  scores: HeadScores,
  over: ScoredPositions,
  worth: number | null,
): HeadRow {
  const { head, previous, first, induction, duplicate, entropy_bits, entropy_share } = scores;
  const values = { previous, first, induction, duplicate, entropy: entropy_share, worth };
  const badges = KINDS.filter((kind) => (values[kind] ?? 0) >= BADGE_SHARE);
  return { block, head, values, entropyBits: entropy_bits, over, badges };
}

/** The value at which a score has its full colour: shares at one, what heads are worth at the largest there is. */
export function limitOf(table: AllHeads, score: ScoreName): number {
  if (score !== "worth") return 1;
  return Math.max(1e-9, ...table.rows.map((row) => Math.abs(row.values.worth ?? 0)));
}

/** A share of attention, so that shares stand digit under digit. */
export function formatScore(share: number | null): string {
  return share === null ? "–" : share.toFixed(2);
}

/** The heads with the largest of a score first; those without one are left out. */
export function rankHeads(table: AllHeads, score: ScoreName): HeadRow[] {
  return table.rows
    .filter((row) => row.values[score] !== null)
    .toSorted((one, other) => (other.values[score] ?? 0) - (one.values[score] ?? 0));
}

/** The next head in a direction, over blocks that have none; the same one at the edge. */
export function stepHead(table: AllHeads, from: HeadPlace, key: string): HeadPlace | null {
  const ways: Record<string, [blocks: number, heads: number]> = {
    ArrowUp: [-1, 0],
    ArrowDown: [1, 0],
    ArrowLeft: [0, -1],
    ArrowRight: [0, 1],
  };
  if (key === "Home") return place(table.rows[0] ?? from);
  if (key === "End") return place(table.rows.at(-1) ?? from);
  const way = ways[key];
  if (!way) return null;
  let { block, head } = from;
  do {
    block += way[0];
    head += way[1];
    const found = table.at(block, head);
    if (found) return place(found);
  } while (block >= 0 && block < table.blocks && head >= 0 && head < table.columns);
  return from;
}

/** Runs of blocks that show no heads for the same reason: `0–2, 4`. */
export function groupRefused(refused: AllHeads["refused"]): { blocks: string; reason: string }[] {
  const byReason = new Map<string, number[]>();
  for (const [block, reason] of refused) byReason.set(reason, [...(byReason.get(reason) ?? []), block]);
  return [...byReason].map(([reason, blocks]) => ({ blocks: joinRuns(blocks), reason }));
}

function joinRuns(numbers: number[]): string {
  const runs: [number, number][] = [];
  for (const number of numbers.toSorted((one, other) => one - other)) {
    const last = runs.at(-1);
    if (last && last[1] === number - 1) last[1] = number;
    else runs.push([number, number]);
  }
  return runs.map(([from, to]) => (from === to ? `${from}` : `${from}–${to}`)).join(", ");
}

function place({ block, head }: HeadPlace): HeadPlace {
  return { block, head };
}
