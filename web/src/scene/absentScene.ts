import type { Scene } from "./Scene";

const nothing = () => {};

/** In the place of a scene where none can be drawn: takes everything, shows nothing, wants no values. */
export const ABSENT_SCENE: Scene = {
  setAnatomy: nothing,
  fillAnatomy: nothing,
  setTokens: nothing,
  setMatrix: nothing,
  appendRows: nothing,
  setDistribution: nothing,
  select: nothing,
  hover: nothing,
  highlight: nothing,
  operands: nothing,
  fit: nothing,
  focus: nothing,
  play: nothing,
  scrub: nothing,
  setTheme: nothing,
  setReducedMotion: nothing,
  setInsets: nothing,
  legend: () => null,
  placeOf: () => null,
  stats: () => ({
    frames: 0,
    drawCalls: 0,
    triangles: 0,
    textureBytes: 0,
    tensors: 0,
    labels: 0,
    lastReason: "",
  }),
  resize: nothing,
  dispose: nothing,
};
