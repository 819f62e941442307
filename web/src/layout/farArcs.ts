import type { Reading } from "../protocol/schema.generated";
import type { FarLights, PartLight } from "./farLights";

/** What heads that matter read: from their block at the reading's position to another position. */
export interface FarArc {
  block: number;
  /** Heads of a block that read the same word share an arc, the one that matters most first; none: all together do. */
  heads: number[];
  position: number;
  /** 0..1: how much the heads matter, times the share that each carries from there. */
  strength: number;
  /** 1: without them the word loses; -1: it gains. */
  sign: 1 | -1;
}

const ARCS_MAX = 12;
/** Of what a head carries, less than this is not worth an arc; nor is a strength below this. */
const SHARE_MIN = 0.1;
/** A whole attention reads many words a little: only one that it reads above all is said. */
const WHOLE_SHARE_MIN = 0.3;
/** Where a head alone is worth so much of its attention, its own arcs say it. */
const LEADING_SHARE = 0.5;
const STRENGTH_MIN = 0.06;

interface Read {
  block: number;
  /** -1: the whole attention. */
  head: number;
  position: number;
  strength: number;
  sign: 1 | -1;
}

/**
 * The arcs that tell the most, strongest first: by what heads, and whole attentions, are worth, and where what they
 * carry comes from.
 */
export function chooseArcs(reading: Reading, lights: FarLights, most = ARCS_MAX): FarArc[] {
  const reads: Read[] = [];
  /** Of each block, how much the head is worth that is worth most, and what all heads carry from each position. */
  const leading = new Map<number, number>();
  const together = new Map<number, Map<number, number>>();
  for (const { block, head, positions, carried } of reading.attention) {
    const own = new Map(positions.map((position, at) => [position, carried[at] as number]));
    const light = lights.byPart.get(`head.${block}.${head}`);
    reads.push(...readsOf(block, head, own, light, reading.position));
    leading.set(block, Math.max(leading.get(block) ?? 0, Math.abs(light?.light ?? 0)));
    const all = together.get(block) ?? new Map<number, number>();
    for (const [position, amount] of own) all.set(position, (all.get(position) ?? 0) + amount);
    together.set(block, all);
  }
  for (const [block, all] of together) {
    const whole = lights.byPart.get(`attention.${block}`);
    const isLed = (leading.get(block) ?? 0) > Math.abs(whole?.light ?? 0) * LEADING_SHARE;
    if (!isLed) reads.push(...readsOf(block, -1, all, whole, reading.position));
  }
  reads.sort((a, b) => b.strength - a.strength);
  const arcs = new Map<string, FarArc>();
  for (const { block, head, position, strength, sign } of reads) {
    const key = `${block} ${position} ${sign}`;
    const arc = arcs.get(key) ?? { block, heads: [], position, strength: 0, sign };
    // What a whole attention does is what its heads do: it is not counted twice.
    if (head < 0) arc.strength = Math.max(arc.strength, strength);
    else {
      arc.heads.push(head);
      arc.strength = Math.min(1, arc.strength + strength);
    }
    arcs.set(key, arc);
  }
  return [...arcs.values()].sort((a, b) => b.strength - a.strength).slice(0, most);
}

/** What one head reads, whatever it is worth, strongest first: for who asks about that head. */
export function arcsOfHead(reading: Reading, lights: FarLights, block: number, head: number): FarArc[] {
  const own = reading.attention.find((each) => each.block === block && each.head === head);
  const total = own?.carried.reduce((sum, each) => sum + each, 0) ?? 0;
  if (!own || !(total > 0)) return [];
  const sign = (lights.byPart.get(`head.${block}.${head}`)?.light ?? 0) < 0 ? -1 : 1;
  return own.positions
    .map((position, at): FarArc => {
      return { block, heads: [head], position, strength: (own.carried[at] as number) / total, sign };
    })
    .filter(({ position, strength }) => position !== reading.position && strength >= SHARE_MIN)
    .sort((a, b) => b.strength - a.strength);
}

/** What a head, or a whole attention, reads that matters: by the share that it carries from each position. */
function readsOf(
  block: number,
  head: number,
  carried: ReadonlyMap<number, number>,
  light: PartLight | undefined,
  own: number,
): Read[] {
  const total = [...carried.values()].reduce((sum, each) => sum + each, 0);
  if (!light || !(total > 0)) return [];
  const sign = light.light < 0 ? -1 : 1;
  return [...carried].flatMap(([position, amount]): Read[] => {
    const share = amount / total;
    const strength = Math.abs(light.light) * share;
    // What is taken from the own position goes nowhere.
    if (position === own || share < (head < 0 ? WHOLE_SHARE_MIN : SHARE_MIN) || strength < STRENGTH_MIN)
      return [];
    return [{ block, head, position, strength, sign }];
  });
}
