import type { Block } from "../protocol/schema.generated";
import { expertsOf } from "./expertsOf";
import type { FarBlock } from "./FarBlock";
import { type Frame, pointOn } from "./Frame";
import { layoutMosaics } from "./layoutMosaics";
import { type Place, wingFrames } from "./Place";
import type { Rect } from "./Rect";
import { add, length, scale } from "./Vec3";

/** Of a block's height: air above and below its card, and above and below a cell on the card. */
export const AIR = 0.08;
const CELL_AIR = 0.2;
/** Between two cells, as a share of the room of one, and between the outermost ones and the card's edge. */
const CELL_GAP = 0.16;
/** A cell is at most this many times as wide as high. */
const CELL_WIDE = 2.4;
/** How wide what stands for a whole attention is: of a block's height, and at most of its card. */
const SLIM = 0.5;
const SLIM_SHARE = 0.04;
const MLP_POINTS = /^(mlp|router|expert)/;

/** Where the parts of a block lie from afar: in the wings that their matrices have from near. */
export function layoutFar(block: Block, place: Place): FarBlock {
  const { metrics } = place;
  const { attention, mlp } = wingFrames(place);
  const rect = (frame: Frame, x: number, width: number, air: number): Rect => ({
    corner: pointOn(frame, x, metrics.floor * air),
    right: scale(frame.right, width),
    down: scale(frame.down, metrics.floor * (1 - 2 * air)),
  });
  const heads = block.heads ?? 0;
  const isMixer =
    heads === 0 && block.sites.some(({ point }) => point.startsWith("attn") || point.startsWith("mixer"));
  const slim = Math.min(metrics.floor * SLIM, metrics.attentionWidth * SLIM_SHARE);
  const room = metrics.attentionWidth - 2 * slim;
  const pitch = pitchOf(heads, room, metrics.floor * (1 - 2 * CELL_AIR));
  // Cells stand at the spine's side of their wing, the last head nearest to it.
  const left = room - pitch * (heads + CELL_GAP);
  const far = {
    attention: heads > 0 || isMixer ? rect(attention, 0, metrics.attentionWidth, AIR) : null,
    whole: heads > 0 ? rect(attention, metrics.attentionWidth - 1.5 * slim, slim, CELL_AIR) : null,
    heads: Array.from({ length: heads }, (_, head) =>
      rect(attention, left + pitch * (head + CELL_GAP), pitch * (1 - CELL_GAP), CELL_AIR),
    ),
    mlp:
      block.d_mlp || block.sites.some(({ point }) => MLP_POINTS.test(point))
        ? rect(mlp, 0, metrics.wingWidth, AIR)
        : null,
    isRouted: expertsOf(block) > 0,
    isMixer,
  };
  return { ...far, mosaics: layoutMosaics(block, far, place) };
}

/** The cells of so many chosen experts on the wing of their block, from the spine outward. */
export function expertCells(wing: Rect, count: number): Rect[] {
  const [width, height] = [length(wing.right), length(wing.down)];
  const air = (CELL_AIR - AIR) / (1 - 2 * AIR);
  const tall = height * (1 - 2 * air);
  const pitch = pitchOf(count, width, tall);
  const [right, down] = [scale(wing.right, 1 / width), scale(wing.down, 1 / height)];
  return Array.from({ length: count }, (_, at) => ({
    corner: add(wing.corner, add(scale(right, pitch * (at + CELL_GAP)), scale(down, height * air))),
    right: scale(right, pitch * (1 - CELL_GAP)),
    down: scale(down, tall),
  }));
}

/** From one of so many cells to the next, on a card of that width. */
function pitchOf(count: number, width: number, cellHeight: number): number {
  return Math.min(width / (count + CELL_GAP), cellHeight * CELL_WIDE * (1 + CELL_GAP));
}
