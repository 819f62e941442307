import { beforeAll, expect, test } from "vitest";
import { createAppStore } from "../../state/createAppStore";
import { spainEffects, spainReading, spainTokens } from "../../state/spainReading";
import { tinyAnatomy } from "../../state/tinyAnatomy";
import { tinyTrace } from "../../state/tinyTrace";
import { startWords } from "../words/startWords";
import { readingOutline } from "./readingOutline";
import { spainTelling } from "./spainTelling";
import { chooseTold } from "./useReadingOutline";

beforeAll(() => startWords("en"));

function outline(off: string[] = []) {
  return readingOutline(spainReading, spainEffects, off, spainTelling());
}

test("the outline says what the far view shows: words by depth, words of the text by need, parts by worth", () => {
  const [words, text, worth, adds] = outline(["token.17"]).children;
  expect(words?.children).toHaveLength(31);
  expect(words?.children.at(0)?.label).toBe("after the embedding: “is”, 100 %");
  expect(words?.children.at(28)?.label).toBe("after block 27: “both”, 11 %; “Madrid” 1.3 %");
  expect(words?.children.at(-1)?.label).toBe("after block 29: “Madrid”, 59 %");
  expect(text?.children.at(0)?.label).toBe("“Spain”, switched off: without it “New”; 0.4 % is left");
  expect(worth?.children.slice(0, 3).map((each) => each.label)).toEqual([
    "the MLP of block 0: without it “is”; < 0.1 % is left",
    "the whole attention of block 24: without it “Spain”; 5 % is left",
    "head 4 of block 24 (reads “Spain”, 80 %): without it “Spain”; 6.2 % is left",
  ]);
  expect(worth?.children.at(-1)?.label).toBe("head 1 of block 29: without it 62 %");
  expect(adds?.children.map((each) => each.label)).toEqual([
    "head 4 of block 23: 3.8",
    "the MLP of block 24: 1.2",
    "head 4 of block 24: −0.47",
    "the embedding: 0.030",
  ]);
});

test("every line has a name of its own", () => {
  const ids = outline().children.flatMap((each) => [each.id, ...each.children.map((node) => node.id)]);
  expect(new Set(ids).size).toBe(ids.length);
});

test("choosing a part switches it off and back on, choosing a depth opens the stream there", () => {
  const store = createAppStore({
    anatomy: tinyAnatomy,
    trace: { ...tinyTrace, tokens: spainTokens, prompt_count: 19, positions: 19 },
    reading: { status: "ready", value: spainReading, error: null },
  });
  const [words, text] = outline().children;
  const spain = text?.children[0]?.id ?? "";
  store.setState(chooseTold(store.getState(), spain));
  expect(store.getState().off).toEqual(["token.17"]);
  store.setState(chooseTold(store.getState(), spain));
  expect(store.getState().off).toEqual([]);
  expect(chooseTold(store.getState(), words?.children[0]?.id ?? "")).toMatchObject({
    selection: { address: "embeddings", index: [18, 0] },
  });
  // This model has no such block.
  expect(chooseTold(store.getState(), words?.children[9]?.id ?? "")).toEqual({});
});
