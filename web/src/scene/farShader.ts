import { AIR } from "../layout/layoutFar";

/** Between which heights of a card in pixels its etching goes over to its cells; and how much less high those are. */
const APART = `
#define APART_FROM 8.0
#define APART_TO 12.0
#define CELL_SHARE 1.6
`;

export const farVertex = /* glsl */ `${APART}
in vec4 aCorner, aRight, aDown; // w: look, order, whether it goes (1) or comes (2) with the mosaics
in vec4 aLight; // light from, to; known from, to
in vec4 aState; // off, clipped, left
uniform float uEtched, uFocal;
uniform vec3 uNear; // a block's height times the focal length; from and to pixels
uniform vec2 uSpan; // from and to pixels where mosaics come
out vec2 vUv;
flat out float vFar;
flat out vec2 vLook; // look, order
flat out vec4 vLight;
flat out vec4 vState;
flat out float vNumber;
void main() {
  vec2 at = position.xy;
  // Etched cards and wings reach to those of the next block: the air between is then part of them, see below.
  if (uEtched > 0.5 && (aCorner.w == 1.0 || aCorner.w == 3.0)) at.y = (at.y - 0.5) / (1.0 - 2.0 * ${AIR}) + 0.5;
  vec3 world = aCorner.xyz + aRight.xyz * at.x + aDown.xyz * at.y;
  gl_Position = projectionMatrix * viewMatrix * vec4(world, 1.0);
  // Seen from near, its matrices stand in the place of a card: both fade, by the distance of its middle.
  vec3 middle = aCorner.xyz + 0.5 * (aRight.xyz + aDown.xyz);
  float depth = (projectionMatrix * viewMatrix * vec4(middle, 1.0)).w;
  vFar = depth > 0.0 ? 1.0 - smoothstep(uNear.y, uNear.z, uNear.x / depth) : 0.0;
  float all = depth > 0.0 ? smoothstep(uSpan.x, uSpan.y, uNear.x / depth) : 0.0;
  vFar *= aDown.w < 0.5 ? 1.0 : aDown.w < 1.5 ? 1.0 - all : all;
  // Of cells and their card the one is etched that can be read: the other costs nothing.
  float tall = length(aDown.xyz) * uFocal / max(depth, 1e-6);
  bool isCell = aCorner.w == 2.0;
  bool isHidden = isCell ? tall * CELL_SHARE < APART_FROM : aCorner.w == 1.0 && tall > APART_TO * 1.25;
  if (uEtched > 0.5 && depth > 0.0 && isHidden) gl_Position = vec4(0.0, 0.0, 2.0, 1.0);
  vUv = position.xy;
  vLook = vec2(aCorner.w, aRight.w);
  vLight = aLight;
  vState = aState;
  vNumber = float(gl_InstanceID);
}
`;

export const farFragment = /* glsl */ `
precision highp float;${APART}
uniform vec3 uGlass, uEdge, uSelection, uThread, uWeight;
uniform vec3 uPositive[3], uNegative[3];
uniform float uGlow, uTint, uPass, uMix, uHover, uQuiet, uEtched;
in vec2 vUv;
flat in float vFar;
flat in vec2 vLook;
flat in vec4 vLight;
flat in vec4 vState;
flat in float vNumber;
out vec4 outColor;

/** Light of a hue: clear at 0, its full colour at 1; on paper it is ink. */
vec4 shine(float light) {
  float amount = abs(light);
  vec3 low = light > 0.0 ? uPositive[0] : uNegative[0];
  vec3 high = light > 0.0 ? uPositive[1] : uNegative[1];
  float cover = min(1.0, pow(amount, 0.8) * 1.5);
  return vec4(mix(low, high, smoothstep(0.0, 0.55, amount)) * cover, cover);
}

float below(float y) { return floor(y) * (1.0 - 2.0 * ${AIR}) + clamp(fract(y) - ${AIR}, 0.0, 1.0 - 2.0 * ${AIR}); }

/** The share of a pixel at height y, so many rows high, that rows cover; air is above and below each. */
float rows(float y, float high) { return (below(y + high / 2.0) - below(y - high / 2.0)) / high; }

vec4 over(vec4 top, vec4 below) { return top + below * (1.0 - top.a); }

void main() {
  vec2 perPixel = max(vec2(length(vec2(dFdx(vUv.x), dFdy(vUv.x))), length(vec2(dFdx(vUv.y), dFdy(vUv.y)))), vec2(1e-7));
  vec2 sizePx = 1.0 / perPixel;
  vec2 toEdge = min(vUv, 1.0 - vUv) * sizePx;
  float rim = min(toEdge.x, toEdge.y);
  float look = vLook.x;
  // A rectangle thinner than a pixel is as faint as it is thin.
  if (look > 3.5) rim = toEdge.x; // one piece of a column goes on in the next
  float cover = smoothstep(0.0, 1.0, rim + 0.5) * min(1.0, min(sizePx.x, sizePx.y));
  float lit = smoothstep(0.0, 0.01, uPass - vLook.y);
  float light = mix(vLight.x, vLight.y, uMix) * mix(0.1, 1.0, lit);
  float known = mix(vLight.z, vLight.w, uMix);
  float left = mix(1.0, mix(0.16, 1.0, vState.z), uQuiet);
  // On paper glass takes a little light away; in the dark it adds some.
  vec4 glass = vec4(uGlass * uTint, mix(0.27, 0.16, uGlow));
  vec4 color;

  if (look < 0.5) {
    color = glass * 0.7;
    color += vec4(uEdge, 1.0) * (1.0 - smoothstep(0.5, 1.5, toEdge.x)) * 0.10;
  } else if (look < 1.5) {
    color = glass;
    // What all experts together are worth: a line of light along the card's foot.
    float foot = 1.0 - smoothstep(0.0, 1.0, (1.0 - vUv.y) * sizePx.y - max(1.0, sizePx.y * 0.045));
    color = over(shine(light) * foot * known, color);
    color += vec4(uEdge, 1.0) * (1.0 - smoothstep(0.4, 1.2, rim)) * 0.05;
  } else if (look < 2.5) {
    color = vec4(uGlass * uTint * 1.4, mix(0.38, 0.22, uGlow));
    color = over(shine(light) * known, color);
  } else if (look < 3.5) {
    color = glass;
    float axis = 0.5;
    float from = min(axis, axis + light * 0.5), to = max(axis, axis + light * 0.5);
    float inside = smoothstep(-0.5, 0.5, (vUv.x - from) * sizePx.x) * smoothstep(-0.5, 0.5, (to - vUv.x) * sizePx.x);
    float tall = smoothstep(-0.5, 0.5, (0.5 - abs(vUv.y - 0.5) - 0.2) * sizePx.y);
    // A bar that is cut off is broken near its end.
    float end = (vUv.x - mix(0.06, 0.94, step(0.0, light))) * sizePx.x + (vUv.y - 0.5) * sizePx.y * 0.5;
    float broken = vState.y * (1.0 - smoothstep(1.0, 2.0, abs(abs(end) - 2.5)));
    vec4 bar = shine(sign(light) * mix(0.35, 1.0, abs(light)));
    color = over(bar * inside * tall * known * (1.0 - broken) * step(0.003, abs(light)), color);
    color += vec4(uEdge, 1.0) * (1.0 - smoothstep(0.3, 1.0, abs(vUv.x - axis) * sizePx.x)) * 0.16;
  } else if (look < 4.5) {
    color = vec4(uThread, 1.0) * mix(0.05, 0.28, light) * known;
  } else {
    color = vec4(uSelection, 1.0) * mix(0.22, 0.95, light) * known;
  }

  if (uEtched > 0.5 && look > 0.5 && look < 3.5) {
    // No values: a part is etched the more, the more numbers it holds. Where heads are too small, their card is.
    bool isCell = look > 1.5 && look < 2.5;
    float apart = smoothstep(APART_FROM, APART_TO, isCell ? sizePx.y * CELL_SHARE : sizePx.y);
    float own = isCell ? apart : look < 1.5 ? 1.0 - apart : 1.0;
    color = vec4(uWeight, 1.0) * mix(0.10, 0.92, light) * own;
    if (isCell) color += vec4(uEdge, 1.0) * (1.0 - smoothstep(0.4, 1.2, rim)) * 0.10 * own;
    // Rows of blocks as a pixel sees them, however many of them it covers: no pattern that is not there.
    else cover = min(1.0, toEdge.x + 0.5) * rows(vUv.y, perPixel.y);
  }

  bool isPart = look > 0.5 && look < 3.5;
  if (isPart && known < 1.0 && look > 1.5) {
    // Not tested yet: a few dots, not a value.
    vec2 dots = fract((vUv - 0.5) * sizePx / 5.0) - 0.5;
    color += vec4(uThread, 1.0) * (1.0 - smoothstep(0.12, 0.3, length(dots))) * 0.16 * (1.0 - known);
  }
  if (isPart && vState.x > 0.5) {
    color = vec4(uEdge * 0.06 * uGlow, 0.6);
    float strike = abs((vUv.y - 0.5) * sizePx.y + (vUv.x - 0.5) * min(sizePx.x, sizePx.y * 2.4) * 0.42);
    color = over(vec4(uSelection, 1.0) * (1.0 - smoothstep(0.6, 1.4, strike)) * 0.8, color);
    color = over(vec4(uSelection, 1.0) * (1.0 - smoothstep(0.5, 1.3, rim)) * 0.35, color);
  }
  if (look > 1.5 && look < 2.5 && vState.y > 0.5)
    color = over(vec4(uSelection, 1.0) * (1.0 - smoothstep(0.7, 1.6, rim)) * 0.9, color);
  // Where the ride stops.
  bool isStop = isPart && uQuiet > 0.5 && vState.z > 0.5;
  if (isStop || vNumber == uHover) color = over(vec4(uSelection, 1.0) * (1.0 - smoothstep(0.7, 1.7, rim)), color);
  outColor = color * cover * left * vFar;
}
`;
