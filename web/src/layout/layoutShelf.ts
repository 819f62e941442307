import type { Weight } from "../protocol/schema.generated";
import { type Frame, shifted } from "./Frame";
import { changes } from "./layoutChanges";
import type { Plate } from "./Plate";
import { isStack, type PlateMaker } from "./PlateMaker";

const GAP = 4;
/** A bias is drawn as a strip along its matrix, this wide. */
const STRIP = 2.2;
/** An adapter's A and B are thin plates along the edges of the matrix that they change. */
const CHANGE = 3.6;
/** Of more experts than this the first stand for all. */
export const EXPERTS_SHOWN = 16;
/** Air between two experts, as a share of the room of one. */
const EXPERT_GAP = 0.12;

/** The axis that runs across the shelf: features other than the model's width, which runs along its depth. */
function acrossAxis(weight: Weight): number {
  const rank = weight.axes.length;
  const last = weight.axes[rank - 1];
  return last === "d_model" && rank > 1 ? rank - 2 : rank - 1;
}

/**
 * Weights lie on a sloping shelf above what they produce, etched: widths go with their features, so that all of a
 * shelf share one scale. Vectors lie along the edge of the matrix of the same role.
 */
export function layoutShelf(
  weights: Weight[],
  frame: Frame,
  width: number,
  depth: number,
  maker: PlateMaker,
): Plate[] {
  const wide = weights.filter((weight) => weight.axes.length > 1);
  const lent = wide.filter((weight) => wide.some((matrix) => changes(weight, matrix)));
  const matrices = wide.filter((weight) => !lent.includes(weight));
  const vectors = weights.filter((weight) => weight.axes.length === 1);
  const features = matrices.map((weight) => weight.shape[acrossAxis(weight)] ?? 1);
  const loose = vectors.filter((vector) => !matrices.some((matrix) => matrix.role === vector.role));
  const room = width - GAP * Math.max(0, matrices.length - 1) - loose.length * (STRIP + GAP);
  // Square roots: a wide projection must not starve its neighbours.
  const shares = features.map((count) => Math.sqrt(count));
  const total = shares.reduce((sum, share) => sum + share, 0) || 1;
  const plates: Plate[] = [];
  let x = 0;
  matrices.forEach((weight, index) => {
    const own = (room * (shares[index] ?? 0)) / total;
    const mates = vectors.filter((vector) => vector.role === weight.role);
    const across = mates.filter((vector) => vector.axes[0] !== "d_model");
    const along = mates.filter((vector) => vector.axes[0] === "d_model");
    const [over, beside] = splitChanges(weight, lent);
    const w = own - along.length * (STRIP + 1) - beside.length * (CHANGE + 1);
    const h = depth - across.length * (STRIP + 1) - over.length * (CHANGE + 1);
    const flip = acrossAxis(weight) !== weight.axes.length - 1;
    const count = isStack(weight) ? Math.min(EXPERTS_SHOWN, weight.shape[0] ?? 1) : 1;
    const pitch = w / (count - EXPERT_GAP);
    for (let lead = 0; lead < count; lead++) {
      const one = { x: x + lead * pitch, y: 0, width: count > 1 ? pitch * (1 - EXPERT_GAP) : w, height: h };
      plates.push(maker.weight(weight, { frame, ...one, station: "shelf", flip, lead }));
    }
    across.forEach((vector, at) => {
      const y = h + 1 + at * (STRIP + 1);
      plates.push(maker.weight(vector, { frame, x, y, width: w, height: STRIP, station: "shelf" }));
    });
    along.forEach((vector, at) => {
      const left = x + w + 1 + at * (STRIP + 1);
      plates.push(
        maker.weight(vector, { frame, x: left, y: 0, width: STRIP, height: h, station: "shelf", flip: true }),
      );
    });
    over.forEach((change, at) => {
      const y = h + 1 + across.length * (STRIP + 1) + at * (CHANGE + 1);
      const flipped = change.axes[1] === "rank";
      plates.push(
        maker.weight(change, { frame, x, y, width: w, height: CHANGE, station: "shelf", flip: flipped }),
      );
    });
    beside.forEach((change, at) => {
      const left = x + w + 1 + along.length * (STRIP + 1) + at * (CHANGE + 1);
      const flipped = change.axes[0] === "rank";
      plates.push(
        maker.weight(change, {
          frame,
          x: left,
          y: 0,
          width: CHANGE,
          height: h,
          station: "shelf",
          flip: flipped,
        }),
      );
    });
    x += own + GAP;
  });
  for (const vector of loose) {
    plates.push(
      maker.weight(vector, { frame, x, y: 0, width: STRIP, height: depth, station: "shelf", flip: true }),
    );
    x += STRIP + GAP;
  }
  return plates;
}

/**
 * An adapter's matrices for `matrix`: the one with the features that run across it, and the one with those along its
 * depth. The product of the two, B A, has the shape of the matrix they lie along.
 */
function splitChanges(matrix: Weight, lent: Weight[]): [Weight[], Weight[]] {
  const own = lent.filter((weight) => changes(weight, matrix) && weight.axes.length > 1);
  const across = matrix.axes[acrossAxis(matrix)];
  const isInput = own.some((weight) => weight.role === "lora_a" && weight.axes[1] === across);
  const over = isInput ? "lora_a" : "lora_b";
  return [own.filter((weight) => weight.role === over), own.filter((weight) => weight.role !== over)];
}

/** The shelf at the top of a wing: it starts at the wing's top edge and slopes down towards the viewer. */
export function shelfFrame(wing: Frame, slope: number): Frame {
  const out = shifted(wing, 0, 0, 1).corner;
  const towards: [number, number, number] = [
    (out[0] - wing.corner[0]) * Math.cos(slope),
    (out[1] - wing.corner[1]) * Math.cos(slope) - Math.sin(slope),
    (out[2] - wing.corner[2]) * Math.cos(slope),
  ];
  return { corner: wing.corner, right: wing.right, down: towards };
}
