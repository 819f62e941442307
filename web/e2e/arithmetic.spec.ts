import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { readFormula } from "./arithmetic.ts";
import { readState, waitForState } from "./drive.ts";
import { sharePage } from "./sharePage.ts";

const PROMPT = "Mia has a red ball. Mia gives the ball to Tom.";
const query = new URLSearchParams({ prompt: PROMPT, cell: "embeddings:2,5" });
const opened = sharePage({ path: `/llm/?${query}`, reducedMotion: true });

/** The sign between a formula and its value, which stands before or after it. */
const EQUALS = /^= | =$/;
/** Cells with queries past their keys, and features on both sides of what rotary embedding turns. */
const PLACES: Record<string, number>[] = [
  { head: 1, kv_head: 1, pos: 9, query: 9, key: 3 },
  { head: 2, kv_head: 0, pos: 4, query: 6, key: 6 },
];

test("a formula that leaves something out is not taken for one that computes", () => {
  expectEqual("whole", "SiLU(−0.8433) × 0.3773", "−0.09572");
  expectEqual("whole", "1.240 × (−0.2323 × 0.9821 + (−0.04209) × (−0.1886))", "−0.2730");
  for (const [formula, result] of [
    ["−0.8433 × 0.3773", "−0.09572"],
    ["0.7126 × (−4.544)", "−0.8094"],
    ["15.28 × 0.3816", "0.6814"],
  ] as const) {
    expect(() => expectEqual("less", formula, result)).toThrow(/is not/);
  }
});

test("what the inspector shows of a cell computes, for every kind of site", async () => {
  const { page } = opened();
  const sites = await readState(page, ({ anatomy }) => {
    const all = anatomy ? [...anatomy.before, ...(anatomy.blocks[1]?.sites ?? []), ...anatomy.after] : [];
    return all.map(({ address, axes }) => ({ address, axes }));
  });
  expect(sites.length).toBeGreaterThanOrEqual(19);
  for (const { address, axes } of sites) {
    for (const [at, places] of PLACES.entries()) {
      const index = axes.map((axis) => places[axis] ?? 11 + 2 * at);
      await open(page, address, index);
      await checkShown(page, `${address} at ${index}`);
    }
  }
});

async function open(page: Page, address: string, index: number[]): Promise<void> {
  await page.evaluate((selection) => window.glassformer.store.setState({ selection }), { address, index });
  await waitForState(
    page,
    ({ explanation, selection }) =>
      explanation.status === "ready" &&
      explanation.value?.address === selection?.address &&
      String(explanation.value?.index) === String(selection?.index),
  );
  await page.locator("[data-testid=explanation][data-stale=false]").waitFor();
}

/** Reads every line of the explanation as it stands on the screen, and multiplies it out. */
async function checkShown(page: Page, where: string): Promise<void> {
  const shown = await page.evaluate(() => {
    const textOf = (row: Element, part: string) => row.querySelector(part)?.textContent ?? "";
    const rows = [...document.querySelectorAll("[data-testid=term]")];
    const total = document.querySelector("[data-testid=terms-total]");
    const rest = document.querySelector("[data-testid=terms-rest]");
    return {
      terms: rows.map((row) => ({
        label: textOf(row, ".term-label").trim(),
        formula: textOf(row, ".term-formula"),
        value: textOf(row, ".term-value"),
        isCell: row.hasAttribute("data-own"),
      })),
      rest: rest && textOf(rest, ".term-value"),
      total: total && {
        kind: total.getAttribute("data-kind"),
        formula: textOf(total, ".term-formula"),
        value: textOf(total, ".term-value"),
      },
    };
  });
  const { terms, rest, total } = shown;
  if (!total) throw new Error(`${where}: nothing is said of what the terms give`);
  expect(terms.length, where).toBeGreaterThan(0);
  expect(new Set(terms.map((term) => term.label)).size, where).toBe(terms.length);
  for (const term of terms) {
    expect(term.formula, where).toMatch(EQUALS);
    expectEqual(`${where}: ${term.label}`, term.formula.replace(EQUALS, ""), term.value);
  }
  if (total.kind === "term") {
    const own = terms.filter((term) => term.isCell);
    expect(own.length, where).toBe(1);
    expect(own[0]?.value, where).toBe(total.value);
  } else if (total.kind === "total") {
    const sum = [...terms.map((term) => term.value), ...(rest ? [rest] : [])].join(" + ");
    expectEqual(`${where}: sum`, sum, total.value);
  } else {
    expectEqual(`${where}: result`, total.formula.replace(EQUALS, ""), total.value);
  }
  const said = await page.locator(".comparison dd").nth(1).innerText();
  expectEqual(`${where}: recomputed`, total.value, said);
}

function expectEqual(where: string, formula: string, result: string): void {
  const [found, said] = [readFormula(formula), readFormula(result)];
  const off = Math.abs(found.value - said.value);
  expect(off, `${where}: ${formula} is not ${result}`).toBeLessThanOrEqual(found.slack + said.slack + 1e-12);
  // Digits that leave all open would prove nothing.
  expect(found.slack, `${where}: ${formula}`).toBeLessThanOrEqual(0.02 * Math.max(1, Math.abs(found.value)));
}

test("how far a recording is from one whole forward is told in words, also when tokens were decoded", async () => {
  const { page } = opened();
  const note = page.getByTestId("batched-difference");
  await open(page, "mlp_act.1", [5, 12]);
  expect(await note.innerText()).toMatch(/^The recording was made step by step: it /);
  await page.getByTestId("generate").click();
  await waitForState(page, (state) => state.activity === "idle" && (state.trace?.tokens.length ?? 0) > 16);
  await open(page, "mlp_act.0", [5, 12]);
  await open(page, "mlp_act.2", [5, 12]);
  const difference = await readState(page, (state) => state.explanation.value?.batched_difference ?? null);
  expect(difference).not.toBeNull();
  expect(await note.innerText()).toMatch(
    difference === 0
      ? /^The tokens were decoded one by one: it is what one whole forward gives/
      : /^The tokens were decoded one by one: it differs from one whole forward by at most \d\.\d+e−\d\.$/,
  );
});
