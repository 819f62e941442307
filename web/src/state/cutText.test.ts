import { describe, expect, test } from "vitest";
import type { Step, Token } from "../protocol/schema.generated";
import { piecesBetween, promptPieces, writtenPieces } from "./cutText";

function tokens(...texts: string[]): Token[] {
  return texts.map((text, id) => ({ id, text, special: text.startsWith("<|") }));
}

function read(prompt: string, ...texts: string[]) {
  return promptPieces(prompt, tokens(...texts)).map(({ text, from, to }) => [text, from, to]);
}

describe("a prompt", () => {
  test("is cut where its tokens end, without a beginning that is no part of the text", () => {
    expect(read("Mia has.", "<|bos|>", "Mia", " has", ".")).toEqual([
      ["Mia", 1, 1],
      [" has", 2, 2],
      [".", 3, 3],
    ]);
  });

  test("keeps control tokens that it spells", () => {
    expect(read("<|bos|>Mia", "<|bos|>", "Mia")).toEqual([
      ["<|bos|>", 0, 0],
      ["Mia", 1, 1],
    ]);
  });

  test("whose tokenizer puts a space in front has none", () => {
    expect(read("The sun", " The", " sun")).toEqual([
      ["The", 0, 0],
      [" sun", 1, 1],
    ]);
  });

  test("has its characters whole, of however many tokens", () => {
    expect(read("a 🙂 b", "a", " \ufffd", "\ufffd", "\ufffd", " b")).toEqual([
      ["a", 0, 0],
      [" 🙂", 1, 3],
      [" b", 4, 4],
    ]);
    expect(read("漢字", "\ufffd", "\ufffd", "\ufffd")).toEqual([["漢字", 0, 2]]);
  });

  test("is all there where tokens read otherwise than the text", () => {
    const odd = promptPieces("ÀBC d", tokens("à", "b", "C", " d"));
    expect(odd.map((each) => each.text).join("")).toBe("ÀBC d");
    expect(odd.at(-1)).toMatchObject({ text: " d", from: 3 });
    expect(promptPieces("no tokens", [])).toEqual([]);
  });
});

test("what was written waits for whole characters, and an end token has no text", () => {
  const texts = [" a", "", "", " 🙂", ""];
  const steps = Object.fromEntries(
    texts.map((text, at) => [at + 4, { pos: at + 4, text, token: { id: 0, text, special: at === 4 } }]),
  ) as unknown as Record<number, Step>;
  expect(writtenPieces(steps, 4, 9, 10).map(({ text, start, from, to }) => [text, start, from, to])).toEqual([
    [" a", 10, 4, 4],
    [" 🙂", 12, 5, 7],
  ]);
});

test("pieces between two places are cut to them", () => {
  const pieces = promptPieces("one two three", tokens("one", " two", " three"));
  expect(piecesBetween(pieces, 4, 9).map(({ text, start, from }) => [text, start, from])).toEqual([
    ["two", 4, 1],
    [" t", 7, 2],
  ]);
});
