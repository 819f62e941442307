import { execFileSync } from "node:child_process";
import { createReadStream, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startWords } from "../panels/words/startWords";
import type { Explanation } from "../protocol/schema.generated";
import { ExportedSource } from "./ExportedSource";
import { filesBeside } from "./exportFiles";

/** What Python says of a cell, written beside the files of an export by `tests/operation/write_cells.py`. */
interface Told {
  address: string;
  index: number[];
  needs_model: boolean;
  explanation: Explanation;
}

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const python = process.env.GLASSFORMER_PYTHON ?? join(ROOT, ".venv/bin/python");
const folder = mkdtempSync(join(tmpdir(), "glassformer-"));
execFileSync(python, ["-W", "ignore", join(ROOT, "tests/operation/write_cells.py"), folder], {
  env: {
    ...process.env,
    PYTHONPATH: [ROOT, process.env.PYTHONPATH].filter(Boolean).join(delimiter),
    OMP_NUM_THREADS: "1",
  },
  stdio: ["ignore", "ignore", "pipe"],
});
const told = JSON.parse(readFileSync(join(folder, "told.json"), "utf8")) as Told[];
const server = createServer((request, response) => {
  const file = join(folder, decodeURIComponent(new URL(request.url ?? "", "http://localhost").pathname));
  if (statSync(file, { throwIfNoEntry: false })?.isFile()) createReadStream(file).pipe(response);
  else response.writeHead(404).end();
});
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const source = new ExportedSource(
  filesBeside(new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)),
);

beforeAll(() => startWords("en"));
afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

const addresses = [...new Set(told.map((each) => each.address))];

test.each(addresses)(
  "%s is explained as Python does",
  async (name) => {
    for (const { address, index, needs_model, explanation } of told.filter((each) => each.address === name)) {
      const explained = source.explain("", { address, index });
      if (needs_model) await expect(explained).rejects.toThrow("told by a running Glassformer alone");
      else expect(rounded(await explained, explanation)).toEqual(explanation);
    }
  },
  60_000,
);

test("numbers that differ by more than rounding are not taken for equal", () => {
  const [one] = told;
  if (!one) throw new Error("nothing was told");
  const other = { ...one.explanation, recomputed: (one.explanation.recomputed ?? 0) * (1 + 1e-11) };
  expect(rounded(other, one.explanation)).not.toEqual(one.explanation);
});

/** `found` with every number that is `expected` but for the rounding of float64 replaced by that. */
function rounded<Value>(found: Value, expected: unknown, scale?: number): Value;
function rounded(found: unknown, expected: unknown, scale = 0): unknown {
  if (typeof found === "number" && typeof expected === "number") {
    const slack = 1e-12 * Math.max(Math.abs(expected), scale) + 1e-15;
    return Math.abs(found - expected) <= slack ? expected : found;
  }
  if (typeof found !== "object" || found === null || typeof expected !== "object") return found;
  if (Array.isArray(found)) return found.map((each, at) => rounded(each, Object(expected)[at]));
  const entries = Object.entries(found).map(([key, value]) => {
    // What two numbers differ by rounds as they do.
    const size = key === "difference" ? Math.abs(Object(found).value) : 0;
    return [key, rounded(value, Object(expected)[key], size)];
  });
  return Object.fromEntries(entries);
}
