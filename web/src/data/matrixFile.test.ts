import { execFileSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { csvOf, npyOf } from "./matrixFile";

const python =
  process.env.GLASSFORMER_PYTHON ?? fileURLToPath(new URL("../../../.venv/bin/python", import.meta.url));
const values = Float32Array.from([0.1, -2, 3e-9, Number.NEGATIVE_INFINITY, 1 / 3, 7, 8, 9, 10, 11, 12, 13]);
const cube = { axes: ["head", "query", "key"], shape: [2, 2, 3], values };

test("NumPy reads what is written, with its shape and to the bit", () => {
  const folder = mkdtempSync(join(tmpdir(), "npy-"));
  writeFileSync(join(folder, "cube.npy"), npyOf(cube));
  writeFileSync(join(folder, "row.npy"), npyOf({ shape: [12], values }));
  const code = `import numpy, sys
for name in ("cube", "row"):
    array = numpy.load(f"{sys.argv[1]}/{name}.npy", allow_pickle=False)
    print(array.shape, array.dtype, array.tobytes().hex())`;
  const told = execFileSync(python, ["-c", code, folder], { encoding: "utf8" }).trim().split("\n");
  const hex = Buffer.from(values.buffer).toString("hex");
  expect(told).toEqual([`(2, 2, 3) float32 ${hex}`, `(12,) float32 ${hex}`]);
}, 30_000);

test("a table has the indices along its edges, the shown plane, and numbers that are the same float32 again", () => {
  expect(csvOf(cube, [0, 1, 1])).toBe(
    "query\\key,0,1,2\n0,0.1,-2,3e-9\n1,,0.3333333,7\n".replace("3333333,", "33333334,"),
  );
  expect(csvOf(cube, [1, 0, 0]).split("\n")[1]).toBe("0,8,9,10");
  expect(csvOf({ axes: ["d_model"], shape: [12], values }, [3]).split("\n")).toHaveLength(3);
});
