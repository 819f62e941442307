import { partName } from "../layout/partName";
import type { Effect, Effects, Reading, RefusedPiece, Word } from "../protocol/schema.generated";

/** What a head reads most of: the position that carries most, and the share of the head's attention it has. */
export interface MostRead {
  position: number;
  weight: number;
}

/** One tested part, or one word of the text, without which the decision is another one. */
export interface Finding {
  /** Its name on the wire. */
  part: string;
  effect: Effect;
  /** The word that would be said then; null if that stays the same. */
  instead: Word | null;
  reads: MostRead | null;
}

/** What can be said of a decision. Whatever is in it was tested. */
export interface WhatMattered {
  token: Word;
  probability: number;
  /** The word that was likelier than the one that was drawn; null if it is the likeliest itself. */
  likelier: Word | null;
  /** How many times as likely it is as the word it is held against; null without one. */
  odds: number | null;
  /** "none": all were tested, and none decides. Null: not all are tested yet, or some could not be. */
  word: Finding | "none" | null;
  part: Finding | "none" | null;
  /** All heads of a block together, where no single part decides. */
  whole: Finding | null;
  /** A part of the first block decides, which is where the word itself is read. It is not told as `part`. */
  firstBlock: boolean;
  testing: boolean;
  /** Why something is not told: it could not be tested. */
  untested: RefusedPiece | null;
}

/** A loss of so much probability is worth a sentence, or */
const NOTABLE_DROP = 0.05;
/** the odds falling to half. */
const NOTABLE_LOSS = Math.LN2;

/**
 * What mattered for a decision, for the sentence under the picture. Words of the text come first, then heads, MLPs,
 * experts and mixers; where none of those decides, all heads of a block together. Of each it is the one that costs most. Parts of block 0 are set apart: without them the word at this position is not read at all.
 */
export function whatMattered(reading: Reading, effects: Effects | null, isTested: boolean): WhatMattered {
  const own = effectsOf(reading, effects);
  const untested = (own?.refused ?? []).filter((each) => each.piece === "effects");
  const untestedWords = untested.find(({ kind }) => kind == null || kind === "token") ?? null;
  const untestedParts = untested.find(({ kind }) => kind !== "token") ?? null;
  const parts = own?.parts ?? [];
  const words = parts.filter((each) => each.kind === "token");
  const alone = parts.filter((each) => each.kind !== "attention" && each.kind !== "token");
  const inFirst = alone.filter((each) => each.block === 0);
  const single = alone.filter((each) => each.block !== 0);
  const whole = parts.filter((each) => each.block && each.kind === "attention");
  const find = (candidates: Effect[]) => own && findMost(candidates, reading, own);
  const part = find(single);
  const word = find(words);
  const all = part ? null : find(whole);
  return {
    token: reading.token,
    probability: reading.probability,
    likelier: own && own.base.token.id !== reading.token.id ? own.base.token : null,
    odds: typeof reading.versus === "number" && own ? Math.exp(own.base.margin) : null,
    word: word ?? (own && isTested && !untestedWords ? "none" : null),
    part: part ?? (own && isTested && !untestedParts ? "none" : null),
    whole: all,
    firstBlock: find(inFirst) !== null,
    testing: !isTested,
    untested: (word ? null : untestedWords) ?? (part || all ? null : untestedParts),
  };
}

/** The effects where they belong to this reading, else null: the next reading can be there before its effects. */
export function effectsOf(reading: Reading, effects: Effects | null): Effects | null {
  const isOwn =
    effects?.position === reading.position &&
    effects.token.id === reading.token.id &&
    effects.versus === reading.versus;
  return isOwn ? effects : null;
}

/** How much a part is worth: what the margin loses without it, in nats. */
export function worthOf(effect: Effect, effects: Effects): number {
  return effects.base.margin - effect.margin;
}

/** The part that costs most, if without it the decision is notably another one; null if no part is. */
function findMost(candidates: Effect[], reading: Reading, effects: Effects): Finding | null {
  const byWorth = candidates.toSorted((one, other) => worthOf(other, effects) - worthOf(one, effects));
  const most = byWorth[0];
  const isLikeliest = effects.base.token.id === reading.token.id;
  const changing = isLikeliest ? byWorth.find((each) => changesWord(each, effects)) : undefined;
  const found = most && isNotable(most, effects) ? most : changing;
  return found ? findingOf(found, reading, effects) : null;
}

/** What a test of one part says. */
export function findingOf(effect: Effect, reading: Reading, effects: Effects): Finding {
  const isLikeliest = effects.base.token.id === reading.token.id;
  return {
    part: partName(effect),
    effect,
    instead: isLikeliest && changesWord(effect, effects) ? effect.token : null,
    reads: effect.kind === "head" ? mostRead(reading, effect.block ?? 0, effect.head ?? 0) : null,
  };
}

function changesWord(effect: Effect, { base }: Effects): boolean {
  return effect.token.id !== base.token.id;
}

/** Whether the decision is notably worse for the token without this part. */
export function isNotable(effect: Effect, effects: Effects): boolean {
  const drop = effects.base.probability - effect.probability;
  const loss = worthOf(effect, effects);
  if (loss <= 0) return false;
  return changesWord(effect, effects) || loss >= NOTABLE_LOSS || drop >= NOTABLE_DROP;
}

/** What a head reads most of by what is carried over, not by weight alone; null where that was not read. */
export function mostRead(reading: Reading, block: number, head: number): MostRead | null {
  const reads = reading.attention.find((each) => each.block === block && each.head === head);
  if (!reads || reads.carried.length === 0) return null;
  const at = reads.carried.indexOf(Math.max(...reads.carried));
  return { position: reads.positions[at] ?? 0, weight: reads.weights[at] ?? 0 };
}
