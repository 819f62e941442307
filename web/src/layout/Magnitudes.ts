/** What a colour scale has to know of a matrix, and what a legend has to say of it. */
export interface Range {
  /** The magnitude at full brightness; 0 where no finite value is known. */
  limit: number;
  largest: number;
  /** The share of values beyond `limit`, which all look alike; between 0 and 1. */
  clipped: number;
}

/** The share of magnitudes that a colour scale must hold; the few beyond it saturate, so that the many can be told apart. */
const SHARE = 0.98;
/** A float32 without its sign, cut to its exponent and three bits of its mantissa: eight bins an octave, in order. */
const BIN_SHIFT = 20;
/** Numbers from here on are as good as infinite: no scale holds them, and a texture marks cells with them. */
export const BEYOND_NUMBERS = 2 ** 126;
const BINS = bitsOf(BEYOND_NUMBERS) >>> BIN_SHIFT;

/**
 * How many values of a matrix have which magnitude. Takes values in as they come, so that rows that are written while one
 * looks count as those that were there before; what is not finite does not count.
 */
export class Magnitudes {
  readonly #counts = new Uint32Array(BINS);
  #count = 0;
  #largest = 0;

  add(values: Float32Array): void {
    const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
    for (let at = 0; at < bits.length; at++) {
      const bin = ((bits[at] as number) & 0x7fffffff) >>> BIN_SHIFT;
      if (bin >= BINS) continue;
      this.#counts[bin] = (this.#counts[bin] as number) + 1;
      this.#count += 1;
      const magnitude = Math.abs(values[at] as number);
      if (magnitude > this.#largest) this.#largest = magnitude;
    }
  }

  merge(other: Magnitudes): void {
    for (let bin = 0; bin < BINS; bin++)
      this.#counts[bin] = (this.#counts[bin] as number) + (other.#counts[bin] as number);
    this.#count += other.#count;
    this.#largest = Math.max(this.#largest, other.#largest);
  }

  /** A scale that one massive value among many does not spoil. */
  range(): Range {
    const most = Math.floor(this.#count * (1 - SHARE));
    let beyond = 0;
    let bin = BINS - 1;
    while (bin > 0 && beyond + (this.#counts[bin] as number) <= most) beyond += this.#counts[bin--] as number;
    const edge = valueOfBits((bin + 1) << BIN_SHIFT);
    // Where nearly all are zero, the few that are not are what there is to see.
    if (bin === 0 || edge >= this.#largest)
      return { limit: this.#largest, largest: this.#largest, clipped: 0 };
    return { limit: edge, largest: this.#largest, clipped: beyond / this.#count };
  }
}

/** Of values that stand alone. */
export function rangeOf(values: Float32Array): Range {
  const magnitudes = new Magnitudes();
  magnitudes.add(values);
  return magnitudes.range();
}

/** The largest value alone decides, as for a logarithmic scale, on which small values show beside it. */
export function unclipped({ largest }: Range): Range {
  return { limit: largest, largest, clipped: 0 };
}

function bitsOf(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0] as number;
}

function valueOfBits(bits: number): number {
  return new Float32Array(Uint32Array.of(bits).buffer)[0] as number;
}
