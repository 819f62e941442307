import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { decodeFrame } from "./LiveFrame";

const python =
  process.env.GLASSFORMER_PYTHON ?? fileURLToPath(new URL("../../../.venv/bin/python", import.meta.url));

const WRITE_FRAME = `
import sys
import numpy as np
from glassformer.protocol.frames import encode_frame
rows = {
    "resid_post.0": np.array([[1.5, -2.25, np.nan]], dtype="f4"),
    "attn_scores.10": np.array([[[0.5, -np.inf]], [[3, 4]]], dtype="f4"),
}
sys.stdout.buffer.write(encode_frame("träce", 7, 8, rows))
`;

test("a frame written by the server is read as it was meant", () => {
  const bytes = execFileSync(python, ["-c", WRITE_FRAME], { cwd: new URL("../../..", import.meta.url) });
  const frame = decodeFrame(new Uint8Array(bytes).buffer);
  expect(frame).toMatchObject({ traceId: "träce", start: 7, stop: 8 });
  expect(frame.arrays.map(({ address, shape }) => [address, shape])).toEqual([
    ["resid_post.0", [1, 3]],
    ["attn_scores.10", [2, 1, 2]],
  ]);
  expect(frame.arrays.map(({ values }) => [...values])).toEqual([
    [1.5, -2.25, Number.NaN],
    [0.5, Number.NEGATIVE_INFINITY, 3, 4],
  ]);
});

test("a frame cut short is refused", () => {
  const buffer = new ArrayBuffer(8);
  new DataView(buffer).setUint32(0, 100, true);
  expect(() => decodeFrame(buffer)).toThrow(RangeError);
});
