import { expect, test } from "vitest";
import { project, type View } from "../layout/Camera";
import { layoutModel } from "../layout/layoutModel";
import { middleOf, type Rect } from "../layout/Rect";
import { GIANT, type SampleSizes, sampleAnatomy, TALES } from "../layout/sampleAnatomy";
import { SAMPLE_TEXTS } from "../layout/sampleTexts";
import { add, scale, type Vec3 } from "../layout/Vec3";
import { collectDrawables, NOTHING } from "./Drawables";
import { nearnessAt } from "./nearBlocks";
import { nearnessOf, nearSpan } from "./visiblePlates";

const LLAMA: SampleSizes = { ...TALES, blocks: 32, heads: 32, width: 4096, headWidth: 128, mlp: 14336 };
const PANEL = 320;
const VIEWS = 100;

/** Numbers 0..1, the same in each run (a linear congruence). */
function numbersFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1664525 + 1013904223) % 2 ** 32;
    return state / 2 ** 32;
  };
}

const on = ({ corner, right, down }: Rect, u: number, v: number): Vec3 =>
  add(add(corner, scale(right, u)), scale(down, v));

/** Whether a part of the side is in what the panel leaves free of the window. */
function isLookedAt(side: Rect, view: View): boolean {
  const seen = [0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95].filter((u) => {
    const at = project(view, on(side, u, 0.5));
    return at && at.x > PANEL && at.x < view.width && at.y > 0 && at.y < view.height;
  });
  return seen.length > 1;
}

test.each([
  ["tales", TALES],
  ["Llama", LLAMA],
  ["giant", GIANT],
])("from wherever one looks at a side of a block, its card is there or its matrices are (%s)", (_, sizes) => {
  const layout = layoutModel(sampleAnatomy(sizes), 0, SAMPLE_TEXTS, "wide");
  const next = numbersFrom(1);
  let looked = 0;
  for (let count = 0; count < VIEWS; count++) {
    const { far } = layout.blocks[Math.floor(next() * layout.blocks.length)] as (typeof layout.blocks)[0];
    const target = on((next() < 0.5 ? far.attention : far.mlp) as Rect, next(), next());
    const [yaw, pitch, distance] = [(next() - 0.5) * 2.4, (next() - 0.3) * 1.4, 200 * 10 ** (next() * 1.3)];
    const view = {
      pose: { target, yaw, pitch, distance },
      width: 1400,
      height: 900,
      offset: { x: PANEL / 2, y: 0 },
    };
    const span = nearSpan(layout, view, { left: PANEL, right: 0, top: 0, bottom: 0 });
    const { plates, points } = collectDrawables(layout, view, span, NOTHING);
    for (const { index, far: cards } of layout.blocks)
      for (const side of [cards.attention, cards.mlp] as Rect[]) {
        if (!isLookedAt(side, view)) continue;
        looked++;
        const far = 1 - nearnessOf(span, view, middleOf(side));
        const near = plates.map((plate, at) => {
          const isOfSide = side.corner[0] < 0 === middleOf(plate)[0] < 0;
          return plate.block === index && isOfSide ? nearnessAt(span, view, points[at] as Vec3[]) : 0;
        });
        expect(Math.max(far, ...near), `block ${index} from ${JSON.stringify(view.pose)}`).toBeGreaterThan(
          0.45,
        );
      }
  }
  expect(looked).toBeGreaterThan(VIEWS);
});
