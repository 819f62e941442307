import { expect, test } from "vitest";
import { formatCount, formatExactly, formatLarge, formatNumber, formatPercent } from "./formatNumber";

test.each([
  [0, "0"],
  [-0, "0"],
  [1.23456, "1.23"],
  [-0.5, "−0.500"],
  [0.00123456, "0.00123"],
  [0.000999, "9.99e−4"],
  [999.6, "1000"],
  [12345.6, "12\u2009346"],
  [1.5e9, "1.50e9"],
  [Number.NEGATIVE_INFINITY, "−∞"],
  [Number.NaN, "not a number"],
  [null, "–"],
])("formatNumber(%s)", (value, text) => {
  expect(formatNumber(value)).toBe(text);
});

test("all digits of a float32 read back as the same float32", () => {
  for (const value of [0.1, 1 / 3, -123456.789, 1e-20, 16777217]) {
    const single = Math.fround(value);
    const text = formatExactly(single).replace("−", "-");
    expect(Math.fround(Number(text))).toBe(single);
  }
  expect(formatExactly(Math.fround(0.1))).toBe("0.1");
});

test("counts have thin spaces, sizes have units", () => {
  expect(formatCount(1234)).toBe("1234");
  expect(formatCount(50257)).toBe("50\u2009257");
  expect(formatLarge(1_312_000)).toBe("1.3 M");
  expect(formatLarge(1_020_000)).toBe("1.0 M");
  expect(formatLarge(99_900)).toBe("100 k");
  expect(formatLarge(999_999)).toBe("1000 k");
  expect(formatLarge(134_515_008)).toBe("135 M");
  expect(formatLarge(85)).toBe("85");
});

test.each([
  [0, "0 %"],
  [1, "100 %"],
  [0.5, "50.0 %"],
  [0.0312, "3.1 %"],
  [0.00001, "< 0.01 %"],
  [0.999999, "> 99.99 %"],
])("formatPercent(%s)", (value, text) => {
  expect(formatPercent(value)).toBe(text);
});
