import { expect, test } from "vitest";
import { formatCell } from "./Labeller";
import { percent } from "./Skyline";
import { tileText, tileTexts } from "./tileText";

test("cells have three digits and real minus signs", () => {
  expect(formatCell(-0.52249)).toBe("−0.522");
  expect(formatCell(12.345)).toBe("12.3");
  expect(formatCell(0)).toBe("0.00");
  expect(formatCell(12345)).toBe("1.2e4");
  expect(formatCell(-0.00012)).toBe("−1.2e−4");
});

test("probabilities are said at a glance", () => {
  expect(percent(1)).toBe("100%");
  // Not the certainty that the sentence under the picture denies.
  expect(percent(0.9987)).toBe("99.9%");
  expect(percent(0.99998)).toBe(">99.9%");
  expect(percent(0.896)).toBe("90%");
  expect(percent(0.0123)).toBe("1.2%");
  expect(percent(0.00001)).toBe("<0.1%");
});

test("tiles show what cannot be seen", () => {
  expect(tileText(" ball")).toBe("ball");
  expect(tileText(" ")).toBe("␣");
  expect(tileText("\n")).toBe("⏎");
  expect(tileText("")).toBe("∅");
  expect(tileText("a\u0007b")).toBe("a·b");
});

test("words that differ by their first space alone are told apart where they stand side by side", () => {
  expect(tileTexts([" Tom", "Tom", " him", " ", "  "])).toEqual(["·Tom", "Tom", "him", "␣", "␣␣"]);
});
