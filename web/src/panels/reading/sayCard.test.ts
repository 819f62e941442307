import { beforeAll, expect, test } from "vitest";
import { spainEffects, spainReading, testedPart } from "../../state/spainReading";
import { startWords } from "../words/startWords";
import { sayCard } from "./sayCard";
import { spainTelling } from "./spainTelling";

beforeAll(() => startWords("en"));

const END = { id: 9, text: "<end>" };

test("a card says from where a head brings most, what is said without it, and what it adds", () => {
  expect(sayCard("head.24.4", spainReading, spainEffects, true, spainTelling())).toEqual([
    "head 4 of block 24",
    "brings most from “Spain” (80 % of its attention)",
    "without it: “Spain” (6.2 % is left)",
    "adds −0.47 to the logit",
  ]);
  expect(sayCard("head.23.4", spainReading, spainEffects, true, spainTelling())).toEqual([
    "head 4 of block 23",
    "without it: still “Madrid”, 50 %",
    "adds 3.8 to the logit",
  ]);
  expect(sayCard("head.9.9", spainReading, spainEffects, false, spainTelling())).toEqual([
    "head 9 of block 9",
    "not tested yet",
  ]);
});

test("where a likelier word was passed over, its card gives it no share of another", () => {
  const base = { ...spainEffects.base, token: END };
  const effects = { ...spainEffects, base, parts: [testedPart("mlp.24", 0.1, END)] };
  expect(sayCard("mlp.24", spainReading, effects, true, spainTelling())).toContain(
    "without it: “<end>” (10 % is left)",
  );
});

test("held against a word, what a part adds is to the lead over it", () => {
  const telling = { ...spainTelling(), versus: 7476, other: " Spain" };
  const lines = sayCard("mlp.24", { ...spainReading, versus: 7476 }, null, true, telling);
  expect(lines).toContain("adds 1.2 to the logit over that of “Spain”");
});
