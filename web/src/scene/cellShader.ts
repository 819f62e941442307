import { BEYOND_NUMBERS } from "../layout/Magnitudes";
import { LOG_SPAN } from "../layout/tone";
import { PAGE_BITS, PAGE_SIDE, PAGES_ACROSS } from "./Atlas";
import { STATES } from "./cellStates";

const ACROSS_BITS = Math.log2(PAGES_ACROSS);

/** How cells become light, in every fragment shader that paints values from the atlas: what is under a pixel, and its colour. */
export const cellGlsl = /* glsl */ `
precision highp int;
precision highp sampler2DArray;
precision highp usampler2D;

uniform sampler2DArray uValues;
uniform usampler2D uPages;
uniform vec3 uPositive[3], uNegative[3], uProbability[3], uWeight[2];
uniform float uOpacity, uGlow, uLogarithmic;

// As in cellStates.ts and tone.ts; between two states lies the middle of them.
const float STATE = ${BEYOND_NUMBERS.toExponential()};
const float MASKED = ${((STATES.absent + STATES.masked) / 2).toExponential()};
const float BROKEN = ${((STATES.masked + STATES.notANumber) / 2).toExponential()};
const float INFINITE = ${((STATES.notANumber + STATES.infinite) / 2).toExponential()};
const float LOG_SPAN = ${LOG_SPAN.toFixed(1)};

/** Where a matrix's entries are: the first, how many in a row, and the levels of its columns and rows. */
struct Sheet { int at; int across; ivec2 levels; bool turned; bool pattern; };

vec4 ink(vec3 low, vec3 middle, vec3 high, float amount) {
  float place = amount * 3.0;
  vec3 hue = place < 1.0 ? low : place < 2.0 ? mix(low, middle, place - 1.0) : mix(middle, high, place - 2.0);
  float cover = min(1.0, place);
  return vec4(hue * cover, cover * uOpacity);
}

/** What so much positive and so much negative looks like: light of both hues adds up. Kinds as in PlateMesh.ts. */
vec4 colorOf(float kind, float positive, float negative) {
  if (kind > 1.5) return vec4(uWeight[0] * positive + uWeight[1] * negative, (positive + negative) * uOpacity) * 0.75;
  if (kind > 0.5) return ink(uProbability[0], uProbability[1], uProbability[2], positive);
  vec4 light = vec4(0.0);
  if (positive > 0.0) light += ink(uPositive[0], uPositive[1], uPositive[2], positive);
  if (negative > 0.0) light += ink(uNegative[0], uNegative[1], uNegative[2], negative);
  // Ink does not add up as light does: where both hues are, it is their mean.
  return uGlow > 0.5 ? light : light / max(1.0, light.a);
}

vec2 tone(vec2 share) {
  return uLogarithmic > 0.5 ? log(1.0 + (LOG_SPAN - 1.0) * share) / log(LOG_SPAN) : share;
}

uint entryAt(int slot) { return texelFetch(uPages, ivec2(slot & 1023, slot >> 10), 0).r; }

/** What the atlas holds for a column and row of what is drawn: a number or a state. */
float texelOf(Sheet sheet, ivec2 at) {
  ivec2 cell = sheet.turned ? at.yx : at;
  ivec2 part = cell >> (sheet.levels + ${PAGE_BITS});
  uint entry = entryAt(sheet.at + part.y * sheet.across + part.x);
  if (entry == 0u) return sheet.pattern && cell.x > cell.y ? ${STATES.masked.toExponential()} : ${STATES.absent.toExponential()};
  int page = int(entry & 0xffffu) - 1;
  ivec2 within = (cell >> ivec2(int(entry >> 16) & 31, int(entry >> 21))) & ${PAGE_SIDE - 1};
  ivec2 place = (ivec2(page, page >> ${ACROSS_BITS}) & ${PAGES_ACROSS - 1}) * ${PAGE_SIDE} + within;
  return texelFetch(uValues, ivec3(place, page >> ${2 * ACROSS_BITS}), 0).r;
}

/**
 * How much positive and how much negative is under a pixel, as shares of the scale; \`states\` are the shares of what is masked,
 * not a number, infinite, and on its way. A pixel over many cells shows their mean and, as pooled levels do, a part of
 * the largest: neither alone tells both how much there is and where the peaks are. A few samples on a regular lattice
 * are enough.
 */
vec2 amountsUnder(Sheet sheet, vec2 cell, vec2 cellsPerPixel, vec2 recorded, float scale, out vec4 states) {
  vec2 levels = vec2(sheet.turned ? sheet.levels.yx : sheet.levels);
  vec2 taps = clamp(ceil(cellsPerPixel / exp2(levels)), vec2(1.0), vec2(3.0, 4.0));
  vec2 spread = cellsPerPixel * step(vec2(1.5), taps) / taps;
  vec2 from = cell - spread * (taps - 1.0) * 0.5;
  vec2 last = recorded - 1.0;
  vec2 total = vec2(0.0);
  vec2 peak = vec2(0.0);
  states = vec4(0.0);
  for (float y = 0.0; y < taps.y; y++) {
    for (float x = 0.0; x < taps.x; x++) {
      vec2 at = floor(from + vec2(x, y) * spread);
      if (at.x > last.x || at.y > last.y) continue;
      float value = texelOf(sheet, ivec2(max(at, vec2(0.0))));
      if (abs(value) >= STATE) {
        states += value > INFINITE ? vec4(0.0, 0.0, 1.0, 0.0) : value > BROKEN ? vec4(0.0, 1.0, 0.0, 0.0)
          : value > MASKED ? vec4(1.0, 0.0, 0.0, 0.0) : vec4(0.0, 0.0, 0.0, 1.0);
        continue;
      }
      value *= scale;
      vec2 parts = tone(min(vec2(max(value, 0.0), max(-value, 0.0)), vec2(1.0)));
      total += parts;
      peak = max(peak, parts);
    }
  }
  float count = taps.x * taps.y;
  states /= count;
  return count > 1.5 ? mix(total / count, peak, 0.25) : total;
}

/** Thin lines over the screen, aslant to the right or to the left. */
float hatch(float slant, float every) {
  float at = abs(fract((gl_FragCoord.x + slant * gl_FragCoord.y) / every) - 0.5) * every;
  return 1.0 - smoothstep(0.4, 1.3, at);
}

/** What is on its way is hatched, what failed to come crossed; what is no number chequered, what is infinite striped. */
vec4 withStates(vec4 color, vec4 states, bool failed, vec3 edge, vec3 white) {
  float hatched = hatch(1.0, 9.0);
  if (failed) hatched = max(hatched, hatch(-1.0, 9.0)) * 2.0;
  color = mix(color, vec4(edge, 1.0), clamp(states.w * hatched * 0.22, 0.0, 1.0));
  vec2 squares = floor(gl_FragCoord.xy / 3.0);
  color = mix(color, vec4(white * mod(squares.x + squares.y, 2.0), 1.0), states.y * 0.9);
  return mix(color, vec4(white * mod(squares.y, 2.0), 1.0), states.z * 0.9);
}
`;
