import { cellGlsl } from "./cellShader";

/** One instance is one mosaic: tiles side by side, each with its own matrix, or its column of one. */
export const mosaicVertex = /* glsl */ `
in vec4 aCorner;  // xyz, number
in vec4 aRight;   // xyz, cells of a tile across, at level 0
in vec4 aDown;    // xyz, cells of a tile down
in vec4 aGrid;    // tiles across and down, share of its room that a tile fills across and down
in vec4 aPlace;   // first entry (or first number of the list of heads), entries in a row, levels of columns and rows
in vec4 aScale;   // recorded columns and rows of a tile, 1 / limit, how many tiles
in vec4 aTurn;    // order start and end, what stands where nothing is held (MosaicMesh.ts), experts
uniform vec3 uNear;   // a block's height times the focal length; from and to pixels
uniform vec2 uSpan;   // from and to pixels where it appears
out vec2 vUv;
flat out vec4 vCounts, vGrid, vPlace, vScale, vTurn;
flat out vec2 vFade;
void main() {
  gl_Position = projectionMatrix * viewMatrix * vec4(aCorner.xyz + aRight.xyz * position.x + aDown.xyz * position.y, 1.0);
  vec3 middle = aCorner.xyz + 0.5 * (aRight.xyz + aDown.xyz);
  float tall = uNear.x / max(1e-6, (projectionMatrix * viewMatrix * vec4(middle, 1.0)).w);
  vFade = vec2(smoothstep(uSpan.x, uSpan.y, tall) * (1.0 - smoothstep(uNear.y, uNear.z, tall)), aCorner.w);
  vUv = position.xy;
  vCounts = vec4(aRight.w, aDown.w, 0.0, 0.0);
  vGrid = aGrid; vPlace = aPlace; vScale = aScale; vTurn = aTurn;
}
`;

export const mosaicFragment = /* glsl */ `
precision highp float;
${cellGlsl}
uniform vec3 uBackdrop, uGlass, uEdge, uSelection;
uniform float uPass, uTint;
uniform vec4 uHover;   // number, tile, column, row; -1: none
uniform float uToken;
in vec2 vUv;
flat in vec4 vCounts, vGrid, vPlace, vScale, vTurn;
flat in vec2 vFade;
out vec4 outColor;

// An expert's tile so high carries its number, on this share of its height.
const float NUMBER_PX = 19.0;
const float NUMBER_SHARE = 0.46;

// A list of heads has two numbers a head, as in LeadLists.ts.
Sheet sheetOf(int lead) {
  int first = int(vPlace.x) + 2 * lead;
  uint look = entryAt(first + 1);
  return Sheet(int(entryAt(first)) - 1, int(look >> 5), ivec2(int(look & 31u)), false, true);
}

void main() {
  vec2 grid = vGrid.xy;
  vec2 perPixel = max(vec2(length(vec2(dFdx(vUv.x), dFdy(vUv.x))), length(vec2(dFdx(vUv.y), dFdy(vUv.y)))), vec2(1e-7));
  vec2 room = floor(vUv * grid);
  float tile = room.y * grid.x + room.x;
  vec2 at = (vUv * grid - room - 0.5) / vGrid.zw + 0.5;
  vec2 tilePx = vGrid.zw / (perPixel * grid);
  vec2 toEdge = min(at, 1.0 - at) * tilePx;
  float rim = min(toEdge.x, toEdge.y);
  float cover = smoothstep(-0.5, 0.5, rim);
  if (cover <= 0.0 || tile >= vScale.w || vFade.x <= 0.0) discard;

  bool isExpert = vTurn.w > 0.5;
  bool isHeld = vScale.x > 0.0;
  vec2 counts = vCounts.xy;
  vec2 cell = clamp(at, vec2(0.0), vec2(0.9999)) * counts;
  vec2 cellsPerPixel = counts / tilePx;
  vec4 states = vec4(0.0);
  vec4 sum = vec4(0.0);
  if (isExpert && tilePx.y > NUMBER_PX && at.y < NUMBER_SHARE) {
    // Here stands its number.
  } else if (isExpert && isHeld) {
    // A column of the matrix: its tokens run across.
    Sheet sheet = Sheet(int(vPlace.x), int(vPlace.y), ivec2(vPlace.zw), true, false);
    vec2 amounts = amountsUnder(sheet, vec2(cell.x, tile + 0.5), vec2(cellsPerPixel.x, 0.0), vScale.xy, vScale.z, states);
    sum = colorOf(1.0, max(amounts.x, amounts.y), 0.0);
  } else if (isHeld) {
    Sheet sheet = sheetOf(int(tile));
    isHeld = sheet.at >= 0;
    if (isHeld) sum = colorOf(1.0, amountsUnder(sheet, cell, cellsPerPixel, vScale.xy, vScale.z, states).x, 0.0);
  }
  if (!isHeld && vTurn.z > 0.5 && vTurn.z < 2.5) states.w = 1.0;
  float lit = smoothstep(0.0, 0.01, uPass - mix(vTurn.x, vTurn.y, 0.5));
  sum *= mix(0.05, 1.0, lit);

  // The glass of a tile hides the light of its part's cell, of which a frame is left.
  vec4 color = sum + vec4(mix(uBackdrop, uGlass, 0.25 * uTint), 0.94) * (1.0 - sum.a);
  color.a = max(color.a, 0.94);
  // What has not been checked yet is an outline.
  if (!isHeld && vTurn.z > 2.5) color *= 0.15;
  color = withStates(color, states, vTurn.z > 1.5, uEdge, uSelection);
  // Beyond what is recorded there are dots, so that nobody takes it for zero.
  if (isHeld && !isExpert && (cell.x >= vScale.x || cell.y >= vScale.y)) {
    vec2 dots = step(4.0, mod(gl_FragCoord.xy, 6.0));
    color.rgb += uEdge * (uGlow * 2.0 - 1.0) * dots.x * dots.y * 0.10;
  }
  vec2 index = floor(cell);
  float marked = index.x == uToken ? 0.12 : 0.0;
  if (uHover.x == vFade.y && uHover.y == tile) {
    if (index.x == uHover.z || index.y == uHover.w) marked += 0.14;
    color = mix(color, vec4(uSelection, 1.0), 1.0 - smoothstep(0.7, 1.7, rim));
  }
  color.rgb = mix(color.rgb, uSelection, marked);
  color.rgb = mix(color.rgb, uEdge, (1.0 - smoothstep(0.3, 1.1, rim)) * 0.22);
  outColor = color * cover * vFade.x;
}
`;
