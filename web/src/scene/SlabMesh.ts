import { Float32BufferAttribute, InstancedBufferGeometry, Mesh, type ShaderMaterial, Vector3 } from "three";
import type { Vec3 } from "../layout/Vec3";
import { glassMaterial } from "./glassMaterial";
import { Instances } from "./Instances";
import type { Palette } from "./palette";
import type { Slab } from "./Slab";

const NAMES = ["aCorner", "aSize", "aColor", "aLook"];

const vertex = /* glsl */ `
in float face;
in vec4 aCorner, aSize, aColor, aLook;
uniform vec3 uEye;
out vec2 vUv;
out float vFace;
flat out vec4 vColor;
flat out vec4 vLook;
void main() {
  vec3 world = aCorner.xyz + vec3(position.x * aSize.x, position.y * aSize.y, -position.z * aSize.z);
  vec3 side = face < 0.5 ? vec3(0.0, 0.0, 1.0) : face < 1.5 ? vec3(-1.0, 0.0, 0.0) : face < 2.5 ? vec3(1.0, 0.0, 0.0)
    : face < 3.5 ? vec3(0.0, 1.0, 0.0) : vec3(0.0, -1.0, 0.0);
  gl_Position = projectionMatrix * viewMatrix * vec4(world, 1.0);
  if (dot(uEye - world, side) <= 0.0) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
  vUv = face < 0.5 ? position.xy : face < 2.5 ? position.zy : position.xz;
  vFace = face;
  vColor = aColor;
  vLook = aLook;
}
`;

const fragment = /* glsl */ `
precision highp float;
uniform vec3 uEdge, uGlass;
uniform float uGlow, uPass, uTint, uBody;
in vec2 vUv;
in float vFace;
flat in vec4 vColor; // rgb, light
flat in vec4 vLook;  // edge, order
out vec4 outColor;
void main() {
  vec2 perPixel = max(vec2(length(vec2(dFdx(vUv.x), dFdy(vUv.x))), length(vec2(dFdx(vUv.y), dFdy(vUv.y)))), vec2(1e-7));
  vec2 toEdge = min(vUv, 1.0 - vUv) / perPixel;
  float rim = min(toEdge.x, toEdge.y);
  float cover = smoothstep(0.0, 1.0, rim + 0.35);
  float since = uPass - vLook.y;
  float lit = smoothstep(0.0, 0.01, since);
  float light = vColor.a * mix(0.12, 1.0, lit);
  float shade = vFace < 0.5 ? mix(0.55, 1.0, vUv.y) : vFace < 2.5 ? 0.45 : 1.25;
  vec4 fill = vec4(vColor.rgb * light * shade, mix(light * 0.9, light * 0.62, uGlow));
  vec4 glass = vec4(uGlass * uTint * 1.3, uBody);
  vec4 color = fill + glass * (1.0 - fill.a);
  float border = (1.0 - smoothstep(0.6, 1.7, rim)) * mix(0.35, 1.0, vLook.x) * mix(0.5, 1.0, lit);
  color.rgb = mix(color.rgb, uEdge, border * 0.8);
  color.a = max(color.a, border * 0.8);
  outColor = color * cover;
}
`;

/** All slabs in one instanced draw. */
export class SlabMesh {
  readonly mesh: Mesh;
  private readonly material: ShaderMaterial;
  private readonly instances: Instances;

  constructor(palette: Palette) {
    const quads: [number, [number, number, number][]][] = [
      [
        1,
        [
          [0, 0, 0],
          [0, 0, 1],
          [0, 1, 1],
          [0, 1, 0],
        ],
      ],
      [
        2,
        [
          [1, 0, 0],
          [1, 0, 1],
          [1, 1, 1],
          [1, 1, 0],
        ],
      ],
      [
        3,
        [
          [0, 1, 0],
          [1, 1, 0],
          [1, 1, 1],
          [0, 1, 1],
        ],
      ],
      [
        4,
        [
          [0, 0, 0],
          [1, 0, 0],
          [1, 0, 1],
          [0, 0, 1],
        ],
      ],
      [
        0,
        [
          [0, 0, 0],
          [1, 0, 0],
          [1, 1, 0],
          [0, 1, 0],
        ],
      ],
    ];
    const box = new InstancedBufferGeometry();
    const indices = quads.flatMap((_, at) => [0, 1, 2, 0, 2, 3].map((corner) => at * 4 + corner));
    box.setAttribute(
      "position",
      new Float32BufferAttribute(
        quads.flatMap(([, corners]) => corners.flat()),
        3,
      ),
    );
    box.setAttribute(
      "face",
      new Float32BufferAttribute(
        quads.flatMap(([face]) => [face, face, face, face]),
        1,
      ),
    );
    box.setIndex(indices);
    this.instances = new Instances(box, NAMES);
    this.material = glassMaterial(vertex, fragment, {
      uEye: { value: new Vector3() },
      uEdge: { value: null },
      uGlass: { value: null },
      uGlow: { value: 1 },
      uTint: { value: 0 },
      uBody: { value: 1 },
      uPass: { value: 2 },
    });
    this.mesh = new Mesh(box, this.material);
    this.mesh.frustumCulled = false;
    this.mesh.renderOrder = 40;
    this.setPalette(palette);
  }

  setPalette(palette: Palette): void {
    this.uniform("uEdge").value = palette.edge;
    this.uniform("uGlass").value = palette.glass;
    this.uniform("uGlow").value = palette.glow;
    this.uniform("uTint").value = palette.tint;
    this.uniform("uBody").value = palette.body;
  }

  uniform(name: string): { value: unknown } {
    return this.material.uniforms[name] as { value: unknown };
  }

  setEye(eye: Vec3): void {
    (this.uniform("uEye").value as Vector3).set(...eye);
  }

  setSlabs(slabs: readonly Slab[]): void {
    const data = this.instances.resize(slabs.length, [this.mesh]);
    slabs.forEach((slab, slot) => {
      const at = slot * this.instances.stride;
      data.set(slab.corner, at);
      data.set([slab.width, slab.height, slab.depth, 0], at + 4);
      data.set([slab.color.r, slab.color.g, slab.color.b, slab.light], at + 8);
      data.set([slab.edge, slab.order, 0, 0], at + 12);
    });
    this.instances.commit();
  }

  dispose(): void {
    this.instances.dispose();
    this.material.dispose();
  }
}
