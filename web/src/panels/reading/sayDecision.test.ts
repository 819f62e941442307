import { beforeAll, expect, test } from "vitest";
import type { Effects, Reading } from "../../protocol/schema.generated";
import { rideStops } from "../../state/rideStops";
import { spainEffects, spainReading, testedPart } from "../../state/spainReading";
import { whatMattered } from "../../state/whatMattered";
import { startWords } from "../words/startWords";
import { plainText } from "./phrase";
import { sayDecision, sayWithout } from "./sayDecision";
import { sayStop } from "./sayStop";
import { spainTelling } from "./spainTelling";

beforeAll(() => startWords("en"));

function say(
  reading: Reading,
  effects: Effects | null,
  isTested = true,
  other: string | null = null,
): string {
  const telling = { ...spainTelling(), specialIds: new Set([9]), versus: reading.versus, other };
  return sayDecision(whatMattered(reading, effects, isTested), telling)
    .map(plainText)
    .join(" ");
}

/** The effects with all parts but those of a kind as they were without them. */
function only(kinds: string[]): Effects {
  const { base, parts } = spainEffects;
  return {
    ...spainEffects,
    parts: parts.map((part) => (kinds.includes(part.kind) ? part : { ...part, ...base })),
  };
}

test("the word and the head that cost most are told, with what would be said and what is read", () => {
  expect(say(spainReading, spainEffects)).toBe(
    "Madrid, 59 %. If it could not read “Spain” it would say “New”. " +
      "Without head 4 of block 24, which reads “Spain” (80 %), it would say “Spain”.",
  );
});

test("what can be pressed names the part or the word that it stands for", () => {
  const telling = spainTelling();
  const pieces = sayDecision(whatMattered(spainReading, spainEffects, true), telling).flat();
  const pressed = pieces.flatMap((piece) =>
    typeof piece === "string" ? [] : [piece.part ?? piece.against ?? piece.text],
  );
  expect(pressed).toEqual(["Madrid", "token.17", 2276, "head.24.4", "token.17", 7476]);
});

test("where words decide and parts do not, it says so, once all were tested", () => {
  const words = only(["token"]);
  const told = "Madrid, 59 %. If it could not read “Spain” it would say “New”.";
  expect(say(spainReading, words)).toBe(`${told} No single part decides it.`);
  expect(say(spainReading, words, false)).toBe(told);
});

test("all heads of a block together are told beside, where no single part decides", () => {
  expect(say(spainReading, only(["attention"]))).toBe(
    "Madrid, 59 %. No single word decides it. No single part decides it. " +
      "Without the whole attention of block 24 it would say “Spain”.",
  );
});

test("parts of the first block are set apart, and that is said", () => {
  const { base, parts } = only(["token"]);
  const first = spainEffects.parts.find((part) => part.kind === "mlp" && part.block === 0);
  const said = say(spainReading, { ...spainEffects, base, parts: [...parts, ...(first ? [first] : [])] });
  expect(said).toContain("Beyond block 0, which reads the word itself, no single part decides it.");
});

test("nothing decides, and nothing is claimed before it was tested", () => {
  expect(say(spainReading, only([]))).toBe(
    "Madrid, 59 %. No single word decides it. No single part decides it.",
  );
  expect(say(spainReading, null, false)).toBe("Madrid, 59 %.");
  // An export holds no tests.
  expect(say(spainReading, null, true)).toBe("Madrid, 59 %.");
  // Effects of another word, which are still on screen while the next are on their way.
  expect(say({ ...spainReading, position: 17 }, spainEffects, false)).toBe("Madrid, 59 %.");
});

test("what could not be tested is named, and no claim is made of all", () => {
  const refused: Effects["refused"] = [
    { piece: "effects", kind: "head", block: null, reason: "its heads are mixed." },
  ];
  expect(say(spainReading, { ...only(["token"]), refused })).toBe(
    "Madrid, 59 %. If it could not read “Spain” it would say “New”. Not everything could be tested: its heads are mixed.",
  );
  // What decides is told all the same, and words that were left out are no reason to say nothing of parts.
  const words: Effects["refused"] = [{ piece: "effects", kind: "token", block: null, reason: "too many." }];
  expect(say(spainReading, { ...spainEffects, refused: words })).not.toContain("too many");
  expect(say(spainReading, { ...only([]), refused: words })).toBe(
    "Madrid, 59 %. No single part decides it. Not everything could be tested: too many.",
  );
});

test("a word that only loses is told by how much", () => {
  const parts = spainEffects.parts.filter((part) => part.position === 0 || part.head === 1);
  expect(say(spainReading, { ...spainEffects, parts })).toBe(
    "Madrid, 59 %. If it could not read “The” it would be 42 %. No single part decides it.",
  );
});

test("against another word it is told how much likelier it is", () => {
  const versus = 7476;
  const base = { ...spainEffects.base, margin: 0.946 };
  const parts = [testedPart("token.13", 0.5, base.token, 0.1)];
  expect(say({ ...spainReading, versus }, { ...spainEffects, versus, base, parts }, true, " Spain")).toBe(
    "Madrid, 59 %. It is 2.6 × as likely as “Spain”. If it could not read the 2nd “.” it would be 1.1 × as likely. " +
      "No single part decides it.",
  );
});

test("a word that was drawn though another was likelier is told as that", () => {
  const reading = { ...spainReading, token: { id: 1, text: "\n" }, probability: 0.031 };
  const effects = {
    ...spainEffects,
    token: reading.token,
    base: { probability: 0.031, margin: -3.47, token: { id: 9, text: "<|im_end|>" } },
    parts: [testedPart("token.17", 0.001, spainEffects.token)],
  };
  expect(say(reading, effects)).toBe(
    "a new line, 3.1 %. Likelier was the control token <|im_end|>. If it could not read “Spain” it would be 0.1 %. " +
      "No single part decides it.",
  );
});

test("words that differ in their space alone are told apart", () => {
  const parts = spainEffects.parts
    .filter((part) => part.position === 17)
    .map((part) => ({ ...part, token: { id: 5, text: "Madrid" } }));
  expect(say(spainReading, { ...spainEffects, parts })).toContain("it would say “Madrid” without a space.");
});

test("each stop of the ride has one sentence with this token's numbers, and only a test gives a reason", () => {
  const telling = spainTelling();
  const sayAll = (effects: Effects | null) => {
    const what = whatMattered(spainReading, effects, effects !== null);
    return rideStops(spainReading, effects).map((stop) =>
      plainText(sayStop(stop, spainReading, what, telling)),
    );
  };
  expect(sayAll(spainEffects)).toEqual([
    "“is” stands at position 18. What is said next is made in this one column.",
    "It begins as what is known of the word alone. If the model stopped here it would say “is” (100 %).",
    "Without the MLP of block 0 it would say “is”.",
    "Without head 3 of block 1 it would say “Spain”.",
    "Without the MLP of block 22 it would say “Barcelona”.",
    "Without head 4 of block 24, which reads “Spain” (80 %), it would say “Spain”. It adds −0.47 to the logit of “Madrid”.",
    "Without the MLP of block 24 it would say “Spain”. It adds 1.2 to the logit of “Madrid”.",
    "After block 25 it would say “both” (25 %); “Madrid” has < 0.1 %.",
    "After block 26 it would say “the” (39 %); “Madrid” has < 0.1 %.",
    "After block 29 “Madrid” takes the lead, with 59 %.",
    "Madrid comes out, with 59 %, because it could read “Spain”: without that it would say “New”, and Madrid would have 0.4 %.",
  ]);
  expect(sayAll(null).at(-1)).toBe("Madrid comes out, with 59 %.");
});

test("a word that the text was given does not come out: the text goes on with it", () => {
  const telling = { ...spainTelling(), promptCount: spainReading.position + 2 };
  const last = (effects: Effects | null) => {
    const what = whatMattered(spainReading, effects, effects !== null);
    const stop = rideStops(spainReading, effects).at(-1);
    return stop && plainText(sayStop(stop, spainReading, what, telling));
  };
  expect(last(null)).toBe("The text goes on with Madrid, to which the model gives 59 %.");
  expect(last(spainEffects)).toMatch(
    /^The text goes on with Madrid, .* because it could read “Spain”: without/,
  );
});

test("with a part off, what is said then comes first, and what is said with all of them after it", () => {
  const without = {
    position: spainReading.position,
    off: "zero" as const,
    token: spainReading.token,
    parts: ["head.24.4"],
    probability: 0.06,
    margin: -2,
    tokens: [{ id: 7476, text: " Spain", probability: 0.55 }],
    lens: [],
  };
  const what = whatMattered(spainReading, spainEffects, true);
  const pieces = sayWithout(without, what, spainTelling());
  expect(pieces.map(plainText).join(" ")).toMatch(
    /^Spain, 55 %, with that off\. With everything on: Madrid, 59 %\. If it could not read “Spain”/,
  );
  const strong = pieces
    .flat()
    .flatMap((piece) => (typeof piece === "string" || !piece.strong ? [] : [piece.text]));
  expect(strong).toEqual(["Spain"]);
  const both = sayWithout({ ...without, parts: ["head.24.4", "mlp.3"] }, what, spainTelling());
  expect(plainText(both[0] ?? [])).toBe("Spain, 55 %, with those 2 off.");
});

test("held against a word, a part adds to the lead over that word and not to the logit alone", () => {
  const reading = { ...spainReading, versus: 7476 };
  const effects = { ...spainEffects, versus: 7476 };
  const telling = { ...spainTelling(), versus: 7476, other: " Spain" };
  const what = whatMattered(reading, effects, true);
  const said = rideStops(reading, effects).map((stop) => plainText(sayStop(stop, reading, what, telling)));
  expect(said.join(" ")).toContain("It adds −0.47 to the logit of “Madrid” over that of “Spain”.");
});
