import type { Site } from "../protocol/schema.generated";
import type { Frame } from "./Frame";
import type { Plate } from "./Plate";
import type { PlateMaker } from "./PlateMaker";

const GAP = 5;

/** The MLP: what is read spreads like a pair of wings, what is written lies below them over the whole width. */
export function layoutWing(
  sites: Site[],
  frame: Frame,
  width: number,
  height: number,
  maker: PlateMaker,
): Plate[] {
  if (sites.length === 0) return [];
  const last = sites.at(-1) as Site;
  const upper = sites.slice(0, -1);
  const upperHeight = upper.length ? (height - GAP) * 0.52 : 0;
  const each = upper.length ? (width - GAP * (upper.length - 1)) / upper.length : 0;
  const plates = upper.map((site, index) =>
    maker.site(site, {
      frame,
      x: index * (each + GAP),
      y: 0,
      width: each,
      height: upperHeight,
      station: "wing",
    }),
  );
  const y = upper.length ? upperHeight + GAP : 0;
  plates.push(maker.site(last, { frame, x: 0, y, width, height: height - y, station: "wing" }));
  return plates;
}
