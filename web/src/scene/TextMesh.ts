import {
  type Color,
  Float32BufferAttribute,
  Group,
  InstancedBufferGeometry,
  Mesh,
  type ShaderMaterial,
  Vector2,
} from "three";
import { FIELD_PX, type GlyphAtlas } from "./GlyphAtlas";
import { glassMaterial } from "./glassMaterial";
import { Instances } from "./Instances";
import type { Palette } from "./palette";
import type { TextLine } from "./TextLine";

/** Half of the glyph's margin, in ems. */
const INK_INSET_EM = 0.12;
const NAMES = ["aAnchor", "aRight", "aUp", "aRect", "aUv", "aColor"];

const vertex = /* glsl */ `
in vec4 aAnchor; // xyz, mode: pixels per em on the screen, 0 = in the world
in vec4 aRight;  // one em to the right; w: shift x in pixels
in vec4 aUp;     // one em up; w: shift y in pixels
in vec4 aRect;   // ems: left, top, width, height
in vec4 aUv;
in vec4 aColor;
uniform vec2 uViewport;
uniform float uInset;
out vec2 vUv;
flat out vec4 vColor;

void main() {
  // Ink needs less room around it than a halo.
  vec2 corner = mix(uInset / aRect.zw, 1.0 - uInset / aRect.zw, position.xy);
  vec2 em = vec2(aRect.x + corner.x * aRect.z, aRect.y - corner.y * aRect.w);
  if (aAnchor.w > 0.0) {
    vec4 clip = projectionMatrix * viewMatrix * vec4(aAnchor.xyz, 1.0);
    vec2 pixel = (clip.xy / clip.w * 0.5 + 0.5) * uViewport;
    pixel = floor(pixel) + 0.5 + vec2(aRight.w, aUp.w) + em * aAnchor.w;
    gl_Position = vec4((pixel / uViewport * 2.0 - 1.0) * clip.w, clip.z, clip.w);
  } else {
    vec3 world = aAnchor.xyz + aRight.xyz * em.x + aUp.xyz * em.y;
    gl_Position = projectionMatrix * viewMatrix * vec4(world, 1.0);
  }
  vUv = aUv.xy + corner * aUv.zw;
  vColor = aColor;
}
`;

const fragment = /* glsl */ `
precision highp float;
uniform sampler2D uAtlas;
uniform vec3 uHaloColor;
uniform float uHalo;
in vec2 vUv;
flat in vec4 vColor;
out vec4 outColor;
void main() {
  // One unit of the field is FIELD_PX atlas pixels; the edge lies where the field is 1 - cutoff.
  float field = texture(uAtlas, vUv).r;
  vec2 size = vec2(textureSize(uAtlas, 0));
  vec2 dx = dFdx(vUv) * size, dy = dFdy(vUv) * size;
  float atlasPerPixel = max(1e-4, sqrt(0.5 * (dot(dx, dx) + dot(dy, dy))));
  float distancePx = (field - 0.65) * ${FIELD_PX.toFixed(1)} / atlasPerPixel;
  if (uHalo > 0.5) {
    float alpha = smoothstep(-2.4, -0.2, distancePx) * 0.72 * vColor.a;
    outColor = vec4(uHaloColor * alpha, alpha);
  } else {
    float alpha = clamp(distancePx + 0.58, 0.0, 1.0) * vColor.a;
    outColor = vec4(vColor.rgb * alpha, alpha);
  }
}
`;

/** All text in two instanced draws: halos first, where words lie on light, then the ink. */
export class TextMesh {
  readonly group = new Group();
  private readonly atlas: GlyphAtlas;
  private readonly halo: TextLayer;
  private readonly ink: TextLayer;

  constructor(atlas: GlyphAtlas, palette: Palette) {
    this.atlas = atlas;
    this.halo = makeLayer(atlas, true);
    this.ink = makeLayer(atlas, false);
    this.group.add(this.halo.mesh, this.ink.mesh);
    this.setPalette(palette);
  }

  setPalette(palette: Palette): void {
    for (const { mesh } of this.layers)
      (mesh.material.uniforms.uHaloColor as { value: Color }).value = palette.backdrop;
  }

  setViewport(width: number, height: number): void {
    for (const { mesh } of this.layers)
      (mesh.material.uniforms.uViewport as { value: Vector2 }).value.set(width, height);
  }

  /** `deviceRatio` turns CSS pixels into those of the canvas. */
  setLines(lines: readonly TextLine[], deviceRatio: number): void {
    this.write(this.ink, lines, deviceRatio);
    this.write(
      this.halo,
      lines.filter((line) => line.halo),
      deviceRatio,
    );
  }

  dispose(): void {
    for (const { mesh, instances } of this.layers) {
      instances.dispose();
      mesh.material.dispose();
    }
  }

  private get layers(): TextLayer[] {
    return [this.halo, this.ink];
  }

  private write({ mesh, instances }: TextLayer, lines: readonly TextLine[], deviceRatio: number): void {
    const count = lines.reduce((sum, line) => sum + this.atlas.split(line.text).length, 0);
    const data = instances.resize(count, [mesh]);
    let at = 0;
    for (const line of lines) {
      const width = this.atlas.measure(line.text, line.face);
      let pen = line.align === "left" ? 0 : line.align === "center" ? -width / 2 : -width;
      for (const character of this.atlas.split(line.text)) {
        const glyph = this.atlas.glyph(character, line.face);
        data.set(line.at, at);
        data[at + 3] = (line.sizePx ?? 0) * deviceRatio;
        data.set(line.right ?? [0, 0, 0], at + 4);
        data[at + 7] = (line.shift?.[0] ?? 0) * deviceRatio;
        data.set(line.up ?? [0, 0, 0], at + 8);
        data[at + 11] = (line.shift?.[1] ?? 0) * deviceRatio;
        data.set([pen + glyph.x, glyph.y, glyph.width, glyph.height], at + 12);
        data.set(glyph.uv, at + 16);
        data.set([line.color.r, line.color.g, line.color.b, line.alpha], at + 20);
        pen += glyph.advance;
        at += instances.stride;
      }
    }
    instances.commit();
  }
}

interface TextLayer {
  mesh: Mesh<InstancedBufferGeometry, ShaderMaterial>;
  instances: Instances;
}

function makeLayer(atlas: GlyphAtlas, halo: boolean): TextLayer {
  const quad = new InstancedBufferGeometry();
  quad.setAttribute("position", new Float32BufferAttribute([0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 1, 0], 3));
  quad.setIndex([0, 2, 1, 0, 3, 2]);
  const material = glassMaterial(vertex, fragment, {
    uAtlas: { value: atlas.texture },
    uViewport: { value: new Vector2(1, 1) },
    uHaloColor: { value: null },
    uHalo: { value: halo ? 1 : 0 },
    uInset: { value: halo ? 0 : INK_INSET_EM },
  });
  const mesh = new Mesh(quad, material);
  mesh.frustumCulled = false;
  mesh.renderOrder = halo ? 60 : 61;
  return { mesh, instances: new Instances(quad, NAMES) };
}
