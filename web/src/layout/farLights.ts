import type { Effects, Reading } from "../protocol/schema.generated";
import { partName } from "./partName";
import { standingLimit } from "./standingLimit";

/** How a part is lit. */
export interface PartLight {
  /** -1..1: above 0 without it the word loses (or: it adds), below 0 the word gains (it takes away). */
  light: number;
  /** Beyond the scale: it stands apart, and its light is cut off so that the others can be told apart. */
  isClipped: boolean;
  /** In nats of margin, or in logits. */
  value: number;
  /** The word that the model would say without it, where that is another one; null otherwise. */
  instead: string | null;
}

export interface FarLights {
  byPart: ReadonlyMap<string, PartLight>;
  /** The value at full light: of parts, and of the words of the text. */
  limit: number;
  wordLimit: number;
}

/** Without a part that halves the odds, nothing is fully lit: where no part decides, the picture stays dark. */
const WORTH_FLOOR = Math.log(2);
/** What adds less than this to a logit is not fully lit. */
const ADDS_FLOOR = 0.5;

export const NO_LIGHTS: FarLights = { byPart: new Map(), limit: WORTH_FLOOR, wordLimit: WORTH_FLOOR };

/** What each tested part is worth: the margin that is lost without it. */
export function lightsByWorth(effects: Effects): FarLights {
  const rows = effects.parts.map((effect) => ({
    part: partName(effect),
    isWord: effect.kind === "token",
    value: effects.base.margin - effect.margin,
    instead: effect.token.id === effects.base.token.id ? null : effect.token.text,
  }));
  return lightsOf(rows, WORTH_FLOOR);
}

/** What each part adds to the word's logit. Words of the text add nothing themselves: they are read by heads. */
export function lightsByAdds(reading: Reading): FarLights {
  const rows = reading.parts.map((part) => ({
    part: partName(part),
    isWord: false,
    value: part.value,
    instead: null,
  }));
  return lightsOf(rows, ADDS_FLOOR);
}

interface Row {
  part: string;
  isWord: boolean;
  value: number;
  instead: string | null;
}

function lightsOf(rows: readonly Row[], floor: number): FarLights {
  const limitOf = (isWord: boolean) =>
    standingLimit(
      rows.filter((row) => row.isWord === isWord).map((row) => row.value),
      floor,
    );
  const [limit, wordLimit] = [limitOf(false), limitOf(true)];
  const byPart = new Map<string, PartLight>();
  for (const { part, isWord, value, instead } of rows) {
    const light = value / (isWord ? wordLimit : limit);
    const isClipped = Math.abs(light) > 1;
    byPart.set(part, { light: Math.max(-1, Math.min(1, light)), isClipped, value, instead });
  }
  return { byPart, limit, wordLimit };
}
