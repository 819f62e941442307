import i18next from "i18next";
import type { Cell } from "../layout/Cell";
import { isShape } from "../layout/expandShape";
import { sitesOf } from "../layout/inputsOf";
import { isTokenAxis } from "../protocol/isTokenAxis";
import type { Anatomy, Site, Token, TraceState, Weight } from "../protocol/schema.generated";
import type { AppState } from "./AppState";
import { knownToken } from "./knownToken";

/** The position whose distribution is shown: the selected one, else the one that the newest token was drawn at. */
export function shownPosition(state: AppState): number | null {
  const { trace, position } = state;
  if (!trace || trace.positions === 0) return null;
  const last = trace.positions - 1;
  if (position !== null) return Math.min(position, last);
  // A finished text may be recorded up to its end token; what would follow that is of no interest.
  const wasWritten = isEnded(trace) && trace.tokens.length > trace.prompt_count;
  return wasWritten ? Math.min(trace.tokens.length - 2, last) : last;
}

export function hasRecording(state: AppState): boolean {
  return (state.trace?.positions ?? 0) > 0;
}

/** The position of the first token that a model wrote; how many tokens there are where none did. */
export function answerStart({ trace, made }: Pick<AppState, "trace" | "made">): number {
  return made?.given.answerFrom ?? trace?.prompt_count ?? 0;
}

export function isEnded(trace: TraceState): boolean {
  return trace.status !== "queued" && trace.status !== "running";
}

/** Whether the recording on screen has ended, however it did. */
export function isSettled(state: AppState): boolean {
  return state.trace !== null && isEnded(state.trace);
}

export function isBusy(state: AppState): boolean {
  return state.activity !== "idle";
}

/** How many tokens of the prompt box are run; null until they are known. */
export function countRun(state: AppState): number | null {
  return state.liveTokens.value?.filter((token) => !token.leftOff).length ?? null;
}

/** The tokens of somebody else's recording, as long as the box still holds the text that it was given. */
export function linkedTokens({ linkedPrompt, prompt, anatomy }: AppState): Token[] | null {
  const holds = linkedPrompt?.text === prompt && linkedPrompt.modelId === anatomy?.model_id;
  return holds ? linkedPrompt.tokens : null;
}

export function weightsOf(anatomy: Anatomy): Weight[] {
  return [...anatomy.weights, ...anatomy.blocks.flatMap((block) => block.weights)];
}

export function findSite(anatomy: Anatomy | null, address: string): Site | null {
  return anatomy ? (indexOf(anatomy).sites.get(address) ?? null) : null;
}

export function findWeight(anatomy: Anatomy | null, name: string): Weight | null {
  return anatomy ? (indexOf(anatomy).weights.get(name) ?? null) : null;
}

/** The axes of a site or weight; none where there is nothing of that name. */
export function axisNames({ anatomy }: AppState, name: string): readonly string[] {
  return findSite(anatomy, name)?.axes ?? findWeight(anatomy, name)?.axes ?? [];
}

/** Why a site's values may not be shown; null for what may be. */
export function whyRefused(anatomy: Anatomy | null, address: string): string | null {
  const check = findSite(anatomy, address)?.check;
  return check?.status === "refused" ? (check.reason ?? i18next.t("part.equationFails")) : null;
}

interface AnatomyIndex {
  sites: Map<string, Site>;
  weights: Map<string, Weight>;
}

/** Panels look names up on every change of the state; a model of a hundred blocks has thousands. */
const INDEXES = new WeakMap<Anatomy, AnatomyIndex>();

function indexOf(anatomy: Anatomy): AnatomyIndex {
  let index = INDEXES.get(anatomy);
  if (!index) {
    index = {
      sites: new Map(sitesOf(anatomy).map((site) => [site.address, site])),
      weights: new Map(weightsOf(anatomy).map((weight) => [weight.name, weight])),
    };
    INDEXES.set(anatomy, index);
  }
  return index;
}

/** Whether a cell has a value: a weight's always, a site's once its position is recorded. */
export function isRecorded(state: AppState, cell: Cell): boolean {
  const site = findSite(state.anatomy, cell.address);
  if (!site) return findWeight(state.anatomy, cell.address) !== null;
  const positions = state.trace?.positions ?? 0;
  return site.axes.every((axis, at) => !isTokenAxis(axis) || (cell.index[at] ?? 0) < positions);
}

/** Why a cell cannot be looked at, as a key of the words and what they speak of; null if it can. */
export function whyNotInspected(state: AppState, { address, index }: Cell): NotInspected | null {
  const { anatomy, trace } = state;
  const found = findSite(anatomy, address) ?? findWeight(anatomy, address);
  if (!found) return { key: "unknown", address };
  if (isShape(anatomy)) return { key: "shape", address };
  const reason = whyRefused(anatomy, address);
  if (reason !== null) return { key: "refused", address, reason };
  const { axes, shape } = found;
  if (index.length !== axes.length) return { key: "indices", address, number: axes.length };
  // The recording may still grow as far as this index.
  const positions = trace && isEnded(trace) && trace.positions > 0 ? trace.positions : Infinity;
  const sizes = shape.map((size) => size ?? positions);
  const at = index.findIndex((each, axis) => each >= (sizes[axis] ?? 0));
  if (at < 0) return null;
  return { key: "outside", address, axis: axes[at] ?? "", index: index[at] ?? 0, number: sizes[at] ?? 0 };
}

export type NotInspected =
  | { key: "unknown"; address: string }
  | { key: "shape"; address: string }
  | { key: "refused"; address: string; reason: string }
  | { key: "indices"; address: string; number: number }
  | { key: "outside"; address: string; axis: string; index: number; number: number };

/** The token a cell's index along an axis stands for, if that axis counts tokens; of the vocabulary, if the page knows it. */
export function tokenAt(state: AppState, axis: string, index: number): Token | null {
  if (axis === "vocab") return knownToken(state, index);
  return isTokenAxis(axis) ? (state.trace?.tokens[index] ?? null) : null;
}

/** How many tokens the text has, without the control tokens that ended it. */
export function textEnd(state: AppState): number {
  const { tokens = [] } = state.trace ?? {};
  const first = answerStart(state);
  const last = tokens.findLastIndex((token, at) => at < first || !token.special);
  return last + 1;
}
