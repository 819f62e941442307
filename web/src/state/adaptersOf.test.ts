import { expect, test } from "vitest";
import type { ModelSummary } from "../protocol/schema.generated";
import type { AppState } from "./AppState";
import { adaptersOf } from "./adaptersOf";
import { tinyAnatomy } from "./tinyAnatomy";

const model = (model_id: string, base: string | null = null) =>
  ({ model_id, base }) as unknown as ModelSummary;
const MODELS = [model("tiny"), model("tiny+poet", "tiny"), model("tiny+in/verse", "tiny"), model("other")];

function choicesFor(model_id: string, changes: Partial<AppState> = {}) {
  const state = {
    models: MODELS,
    anatomy: { ...tinyAnatomy, model_id },
    origin: "live",
    shapes: [],
    ...changes,
  };
  return adaptersOf(state as unknown as AppState);
}

test("a model and its adapters offer each other, whichever is on screen", () => {
  const offered = [
    { modelId: "tiny", name: null },
    { modelId: "tiny+poet", name: "poet" },
    { modelId: "tiny+in/verse", name: "in/verse" },
  ];
  expect(choicesFor("tiny")).toEqual(offered);
  expect(choicesFor("tiny+poet")).toEqual(offered);
});

test("a model without adapters, an exported page and a shape offer nothing", () => {
  expect(choicesFor("other")).toEqual([]);
  expect(choicesFor("tiny", { origin: "exported" })).toEqual([]);
  expect(choicesFor("tiny", { anatomy: null })).toEqual([]);
});
