import { FIELD_OF_VIEW, project, type View } from "../layout/Camera";
import { placeLabels } from "../layout/placeLabels";
import { length } from "../layout/Vec3";
import type { GlyphAtlas } from "./GlyphAtlas";
import type { TextLine } from "./TextLine";

/** Text of the world that would be smaller than this on the screen cannot be read. */
const LEAST_PX = 8;
/** What stands instead of some of it. */
const READABLE_PX = 10.5;

/** A line of the world; of those that are too small to be read, lower numbers stay. */
export interface RankedLine extends TextLine {
  rank: number;
}

/** The lines as they are where they can be read from here; else those of them that have room in a readable size. */
export function readableLines(
  lines: readonly RankedLine[],
  view: View,
  atlas: Pick<GlyphAtlas, "measure">,
): TextLine[] {
  const focal = view.height / 2 / Math.tan(FIELD_OF_VIEW / 2);
  const kept: TextLine[] = [];
  const small: {
    line: TextLine | null;
    box: { x: number; y: number; width: number; height: number };
    priority: number;
  }[] = [];
  for (const line of lines) {
    const at = project(view, line.at);
    if (!at || !line.up || (length(line.up) * focal) / at.depth >= LEAST_PX) {
      kept.push(line);
      // What stands already has its place before what is enlarged.
      if (at && line.up) {
        const px = (length(line.up) * focal) / at.depth;
        small.push({
          line: null,
          box: boxAt(at, atlas.measure(line.text, line.face) * px, px),
          priority: -1e9,
        });
      }
      continue;
    }
    const width = atlas.measure(line.text, line.face) * READABLE_PX;
    const { right: _right, up: _up, ...rest } = line;
    small.push({
      line: { ...rest, sizePx: READABLE_PX, shift: [0, 0], halo: true },
      box: boxAt(at, width, READABLE_PX),
      priority: line.rank,
    });
  }
  return [...kept, ...placeLabels(small).flatMap((index) => small[index]?.line ?? [])];
}

/** The room of a line that is centred there. */
function boxAt({ x, y }: { x: number; y: number }, width: number, px: number) {
  return { x: x - width / 2, y: y - px * 0.8, width, height: px };
}
