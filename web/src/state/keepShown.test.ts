import { expect, test } from "vitest";
import type { AppState } from "./AppState";
import { createAppStore } from "./createAppStore";
import { keepBesides, keepShown, MOST_KEPT } from "./keepShown";

const IDS = Array.from({ length: MOST_KEPT }, (_, at) => `trace-${at}`);

/** A page that keeps a full list and shows the recording of that id. */
function showing(id: string): AppState {
  const state = createAppStore().getState();
  const keep = (traceId: string) => ({ ...state, trace: { id: traceId } }) as unknown as AppState;
  const kept = IDS.flatMap((each) => keepShown(keep(each)));
  return { ...keep(id), kept };
}
const idsOf = (kept: ReturnType<typeof keepShown>) => kept.map((each) => each.trace.id);

test("the recording on screen keeps its place among the others", () => {
  expect(idsOf(keepShown(showing("trace-3")))).toEqual(IDS);
  expect(idsOf(keepShown(showing("new")))).toEqual([...IDS.slice(1), "new"]);
});

test("the oldest makes room, but never the one that was on screen", () => {
  expect(idsOf(keepBesides(showing("new")))).toEqual([...IDS.slice(2), "new"]);
  expect(idsOf(keepBesides(showing("trace-0")))).toEqual(["trace-0", ...IDS.slice(2)]);
});
