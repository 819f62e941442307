import { expect, test } from "vitest";
import type { Candidate, Distribution } from "../protocol/schema.generated";
import { stageRows } from "./stageRows";

function candidate(
  id: number,
  probability: number,
  stages: number[],
  pruned_by: Candidate["pruned_by"] = null,
): Candidate {
  const token = { id, text: String(id), special: false };
  return { token, logit: 0, probability, filtered_probability: stages.at(-1) ?? 0, stages, pruned_by };
}

const distribution: Distribution = {
  pos: 4,
  entropy_bits: 2,
  stages: [
    { filter: "constraint", kept: 3, entropy_bits: 1 },
    { filter: "temperature", kept: 3, entropy_bits: 1 },
    { filter: "top_k", kept: 2, entropy_bits: 1 },
  ],
  candidates: [
    candidate(1, 0.5, [0, 0, 0], "constraint"),
    candidate(2, 0.25, [0.8, 0.7, 0.75]),
    candidate(3, 0.1, [0, 0, 0], "constraint"),
    candidate(4, 0.05, [0.15, 0.2, 0.25]),
    candidate(5, 0.01, [0.05, 0.1, 0], "top_k"),
  ],
  rest_count: 95,
  rest_probability: 0.09,
  chosen: 4,
  forced: false,
};
const ids = (rows: { candidate: Candidate }[]) => rows.map((row) => row.candidate.token.id);

test("all filters together lead from the model to what was drawn with", () => {
  const { rows, rest } = stageRows(distribution, null, 8);
  expect(ids(rows)).toEqual([1, 2, 3, 4, 5]);
  expect(rows.map((row) => row.before)).toEqual([0.5, 0.25, 0.1, 0.05, 0.01]);
  expect(rows.map((row) => row.after)).toEqual([0, 0.75, 0, 0.25, 0]);
  expect(rows.map((row) => row.cutBy)).toEqual(["constraint", null, "constraint", null, "top_k"]);
  expect(rest.count).toBe(95);
  expect(rest.before).toBeCloseTo(0.09);
  expect(rest.after).toBe(0);
});

test("one filter leads from the one before it to itself", () => {
  const { rows } = stageRows(distribution, "temperature", 8);
  expect(rows.map((row) => row.before)).toEqual([0, 0.8, 0, 0.15, 0.05]);
  expect(rows.map((row) => row.after)).toEqual([0, 0.7, 0, 0.2, 0.1]);
  // What a later filter cuts is still possible here.
  expect(rows.map((row) => row.cutBy)).toEqual(["constraint", null, "constraint", null, null]);
  expect(stageRows(distribution, "constraint", 8).rows.map((row) => row.before)).toEqual([
    0.5, 0.25, 0.1, 0.05, 0.01,
  ]);
});

test("few rows are those that matter, in the model's order", () => {
  expect(ids(stageRows(distribution, null, 4).rows)).toEqual([1, 2, 3, 4]);
  const { rows, rest } = stageRows({ ...distribution, chosen: 5 }, null, 1);
  expect(ids(rows)).toEqual([5]);
  expect(rest.count).toBe(99);
});

test("what the filter cut is among them, however much is left above it", () => {
  expect(ids(stageRows(distribution, "top_k", 2).rows)).toEqual([4, 5]);
  expect(ids(stageRows(distribution, "top_k", 3).rows)).toEqual([2, 4, 5]);
});

test("a filter that is not on any more shows all of them", () => {
  expect(stageRows(distribution, "min_p", 8)).toEqual(stageRows(distribution, null, 8));
});
