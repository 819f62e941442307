import { cellGlsl } from "./cellShader";

/** One instance is one matrix: a thin box of glass whose faces paint their cells from the atlas. */
export const plateVertex = /* glsl */ `
in float face;
in vec4 aCorner;   // xyz, thickness
in vec4 aRight;    // xyz, columns at level 0
in vec4 aDown;     // xyz, rows at level 0
in vec4 aPlace;    // first entry in the page table, entries in a row of it, levels of the matrix's columns and rows
in vec4 aScale;    // flags (1: the plate's columns are the matrix's rows, 2: an attention pattern), recorded columns and rows, 1 / limit
in vec4 aTurn;     // order start and end, kind, which side runs over tokens (0 none, 1 columns, 2 rows)
in vec4 aState;    // plate number, emphasis, fade, brightness from afar

uniform vec3 uEye;

out vec2 vUv;
out float vFace;
flat out vec4 vRight;
flat out vec4 vDown;
flat out vec4 vPlace;
flat out vec4 vScale;
flat out vec4 vTurn;
flat out vec4 vState;
out float vFacing;

void main() {
  vec3 normal = normalize(cross(aDown.xyz, aRight.xyz));
  vec3 side = face < 0.5 ? normal : face < 1.5 ? -normal : face < 2.5 ? -normalize(aRight.xyz)
    : face < 3.5 ? normalize(aRight.xyz) : face < 4.5 ? -normalize(aDown.xyz) : normalize(aDown.xyz);
  vec3 world = aCorner.xyz + aRight.xyz * position.x + aDown.xyz * position.y - normal * position.z * aCorner.w;
  vec3 toEye = normalize(uEye - world);
  vFacing = dot(toEye, side);
  vUv = face < 1.5 ? position.xy : face < 3.5 ? position.zy : position.xz;
  vFace = face;
  vRight = aRight; vDown = aDown; vPlace = aPlace; vScale = aScale; vTurn = aTurn; vState = aState;
  vec3 centre = aCorner.xyz + 0.5 * (aRight.xyz + aDown.xyz) - normal * 0.5 * aCorner.w;
  float facing = dot(uEye - (centre + side * (face < 1.5 ? 0.5 * aCorner.w : face < 3.5 ? 0.5 * length(aRight.xyz) : 0.5 * length(aDown.xyz))), side);
  gl_Position = projectionMatrix * viewMatrix * vec4(world, 1.0);
  if (facing <= 0.0) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
}
`;

export const plateFragment = /* glsl */ `
precision highp float;
${cellGlsl}
uniform vec3 uGlass, uEdge, uRefused, uSelection;
uniform float uBody, uTint, uPass, uDimOthers;
uniform vec3 uHover;     // plate number, column, row; -1: none
uniform vec3 uSelect;
uniform float uToken;    // highlighted token column; -1: none
uniform vec2 uNewest;    // newest column, how fresh it is

in vec2 vUv;
in float vFace;
flat in vec4 vRight;
flat in vec4 vDown;
flat in vec4 vPlace;
flat in vec4 vScale;
flat in vec4 vTurn;
flat in vec4 vState;
in float vFacing;

out vec4 outColor;

float line(float distancePx, float widthPx) {
  return 1.0 - smoothstep(widthPx * 0.5, widthPx * 0.5 + 1.0, abs(distancePx));
}

void main() {
  vec2 perPixel = max(vec2(length(vec2(dFdx(vUv.x), dFdy(vUv.x))), length(vec2(dFdx(vUv.y), dFdy(vUv.y)))), vec2(1e-7));
  vec2 toEdge = min(vUv, 1.0 - vUv) / perPixel;
  float rim = min(toEdge.x, toEdge.y);
  float cover = smoothstep(0.0, 1.0, rim + 0.35);
  float at = mix(vTurn.x, vTurn.y, vFace < 1.5 ? vUv.y : 0.5);
  float since = uPass - at;
  float lit = smoothstep(0.0, 0.01, since);
  float pulse = lit * exp(-max(since, 0.0) * 26.0) * step(uPass, 1.0);
  float quiet = mix(1.0, 0.32, uDimOthers * (1.0 - vState.y));
  float fresnel = 1.0 - abs(vFacing);
  float edgeLight = mix(0.22, 0.55, lit) + 0.35 * vState.y + 0.6 * pulse;

  if (vFace > 1.5) {
    // The sides of the glass carry light: a bright line where the plate is cut.
    float depth = vFace < 3.5 ? vUv.x : vUv.y;
    float shine = (0.35 + 0.5 * fresnel) * edgeLight * mix(1.0, 0.4, depth);
    // A cut thinner than a pixel would break into dashes.
    float thickPx = 1.0 / (vFace < 3.5 ? perPixel.x : perPixel.y);
    cover *= smoothstep(0.5, 1.8, thickPx);
    vec4 cut = vec4(uEdge * shine, mix(0.25, 0.5, uBody));
    outColor = cut * cover * quiet * vState.z;
    return;
  }

  vec2 counts = vec2(vRight.w, vDown.w);
  vec2 cell = vUv * counts;
  vec2 cellsPerPixel = perPixel * counts;
  if (vFace > 0.5) cell = clamp(cell, vec2(0.0), counts - 0.001);
  vec4 sum = vec4(0.0);
  vec4 states = vec4(0.0);
  if (vTurn.z > 2.5) {
    if (vTurn.z < 3.5) sum = vec4(uRefused * 0.9, 0.96);
    if (vTurn.z > 5.5) states.w = 1.0;
  } else if (vScale.y > 0.0) {
    int flags = int(vScale.x);
    Sheet sheet = Sheet(int(vPlace.x), int(vPlace.y), ivec2(vPlace.zw), (flags & 1) == 1, flags > 1);
    vec2 amounts = amountsUnder(sheet, cell, cellsPerPixel, vScale.yz, vScale.w, states);
    sum = colorOf(vTurn.z, amounts.x, amounts.y);
  }

  vec2 index = clamp(floor(cell), vec2(0.0), counts - 1.0);
  float token = vTurn.w < 0.5 ? -2.0 : vTurn.w < 1.5 ? index.x : index.y;
  float fresh = (uNewest.y > 0.0 && token == uNewest.x) ? uNewest.y : 0.0;
  // From afar what matters leads; near, every cell has the brightness that the legend gives it.
  float near = smoothstep(1.5, 5.0, min(1.0 / cellsPerPixel.x, 1.0 / cellsPerPixel.y));
  sum *= mix(vState.w, 1.0, near);
  sum *= mix(0.05, 1.0, lit) * (1.0 + uGlow * (0.9 * pulse + 0.8 * fresh));

  vec4 glass = vec4(uGlass * uTint * (1.0 + fresnel), uBody * 0.9);
  // What has not been checked yet is an outline.
  if (vTurn.z > 4.5 && vTurn.z < 5.5) glass *= 0.15;
  // What attention does not see is a hole in the glass.
  glass *= 1.0 - 0.8 * states.x;
  vec4 color = sum + glass * (1.0 - sum.a);
  color = withStates(color, states, vTurn.z > 6.5, uEdge, uSelection);
  // Beyond what is recorded there are dots, so that nobody takes it for zero.
  if (vTurn.z < 2.5 && (index.x >= vScale.y || index.y >= vScale.z)) {
    vec2 dots = step(4.0, mod(gl_FragCoord.xy, 6.0));
    color += vec4(uEdge * (uGlow * 2.0 - 1.0), 0.0) * dots.x * dots.y * 0.12;
  }

  // Lines between cells, once there is room for them.
  vec2 cellPx = 1.0 / max(cellsPerPixel, vec2(1e-7));
  vec2 inCell = fract(cell);
  vec2 toLine = min(inCell, 1.0 - inCell) * cellPx;
  vec2 grid = (1.0 - smoothstep(0.3, 1.1, toLine)) * smoothstep(vec2(6.0), vec2(16.0), cellPx);
  color.rgb += uEdge * max(grid.x, grid.y) * 0.13 * (uGlow * 2.0 - 1.0);

  // The token column and the crosshair under the pointer; white light on what is selected.
  float marked = (uToken >= 0.0 && token == uToken) ? 0.10 : 0.0;
  if (uHover.x == vState.x) {
    if (index.x == uHover.y) marked += 0.12;
    if (index.y == uHover.z) marked += 0.12;
  }
  if (uSelect.x == vState.x) {
    if (index.x == uSelect.y || index.y == uSelect.z) marked += 0.10;
    if (index.x == uSelect.y && index.y == uSelect.z) {
      float frame = 1.0 - smoothstep(1.0, 2.2, min(toLine.x, toLine.y));
      marked += min(cellPx.x, cellPx.y) > 5.0 ? frame : 1.0;
    }
  }
  color.rgb = mix(color.rgb, uSelection * max(color.a, marked), clamp(marked, 0.0, 1.0));
  color.a = max(color.a, clamp(marked, 0.0, 1.0));

  // Thin bright edges, and a little light that gathers towards them.
  float border = line(rim - 0.6, 0.7) * edgeLight;
  float gather = exp(-rim * 0.28) * 0.10 * edgeLight;
  color.rgb = mix(color.rgb, uEdge, clamp(border, 0.0, 1.0) * (uGlow > 0.5 ? 0.75 : 0.7)) + uEdge * gather * (uGlow * 1.2 - 0.2);
  color.a = max(color.a, border * 0.75);

  outColor = color * cover * quiet * vState.z;
}
`;
