import { Float32BufferAttribute, InstancedBufferGeometry, Mesh, type ShaderMaterial, Vector2 } from "three";
import type { Curve } from "./Curve";
import { glassMaterial } from "./glassMaterial";
import { Instances } from "./Instances";
import type { Palette } from "./palette";

const SEGMENTS = 20;
const NAMES = ["aP0", "aP1", "aP2", "aP3", "aTurn"];

const vertex = /* glsl */ `
in vec4 aP0, aP1, aP2, aP3, aTurn; // points; w: token, strength, width, selected; order start, end, hue
uniform vec2 uViewport;
out float vSide, vAlong;
flat out vec4 vLook;
flat out vec3 vTurn;

vec3 curve(float t) {
  float s = 1.0 - t;
  return s*s*s*aP0.xyz + 3.0*s*s*t*aP1.xyz + 3.0*s*t*t*aP2.xyz + t*t*t*aP3.xyz;
}

void main() {
  float t = position.x;
  vec4 here = projectionMatrix * viewMatrix * vec4(curve(t), 1.0);
  vec4 next = projectionMatrix * viewMatrix * vec4(curve(min(1.0, t + 0.02)), 1.0);
  vec4 last = projectionMatrix * viewMatrix * vec4(curve(max(0.0, t - 0.02)), 1.0);
  vec2 along = (next.xy / next.w - last.xy / last.w) * uViewport;
  along = length(along) > 1e-6 ? normalize(along) : vec2(1.0, 0.0);
  float halfWidth = aP2.w * 0.5 + 1.0;
  here.xy += vec2(-along.y, along.x) / uViewport * 2.0 * position.y * halfWidth * here.w;
  gl_Position = here;
  vSide = position.y * halfWidth;
  vAlong = t;
  vLook = vec4(aP0.w, aP1.w, aP2.w, aP3.w);
  vTurn = aTurn.xyz;
}
`;

const fragment = /* glsl */ `
precision highp float;
uniform vec3 uThread, uSelection, uPositive, uNegative;
uniform float uPass, uToken, uGlow, uDimOthers;
in float vSide, vAlong;
flat in vec4 vLook;
flat in vec3 vTurn;
out vec4 outColor;
void main() {
  float cover = 1.0 - smoothstep(vLook.z * 0.5 - 0.5, vLook.z * 0.5 + 0.5, abs(vSide));
  float since = uPass - mix(vTurn.x, vTurn.y, vAlong);
  float lit = smoothstep(0.0, 0.01, since);
  float pulse = lit * exp(-max(since, 0.0) * 30.0) * step(uPass, 1.0);
  float mine = (vLook.x >= 0.0 && vLook.x == uToken) ? 1.0 : 0.0;
  float strength = vLook.y * mix(0.35, 1.0, lit) + pulse * 0.8 + mine * 0.7;
  strength *= mix(1.0, 0.4, uDimOthers * (1.0 - vLook.w));
  vec3 own = vTurn.z > 0.0 ? uPositive : vTurn.z < 0.0 ? uNegative : uThread;
  vec3 color = mix(own, uSelection, max(vLook.w, max(mine, pulse * uGlow)));
  float alpha = clamp(strength, 0.0, 1.0) * cover;
  outColor = vec4(color * alpha, alpha * mix(1.0, 0.6, uGlow));
}
`;

/** All threads of light in one instanced draw: cubic curves of constant width on the screen. */
export class CurveMesh {
  readonly mesh: Mesh;
  private readonly material: ShaderMaterial;
  private readonly instances: Instances;

  constructor(palette: Palette, renderOrder: number) {
    const positions: number[] = [];
    const indices: number[] = [];
    for (let step = 0; step <= SEGMENTS; step++) {
      positions.push(step / SEGMENTS, -1, 0, step / SEGMENTS, 1, 0);
      if (step > 0) {
        const at = step * 2;
        indices.push(at - 2, at - 1, at, at, at - 1, at + 1);
      }
    }
    const strip = new InstancedBufferGeometry();
    strip.setAttribute("position", new Float32BufferAttribute(positions, 3));
    strip.setIndex(indices);
    this.instances = new Instances(strip, NAMES);
    this.material = glassMaterial(vertex, fragment, {
      uViewport: { value: new Vector2(1, 1) },
      uThread: { value: null },
      uSelection: { value: null },
      uPositive: { value: null },
      uNegative: { value: null },
      uPass: { value: 2 },
      uToken: { value: -1 },
      uGlow: { value: 1 },
      uDimOthers: { value: 0 },
    });
    this.mesh = new Mesh(strip, this.material);
    this.mesh.frustumCulled = false;
    this.mesh.renderOrder = renderOrder;
    this.setPalette(palette);
  }

  setPalette(palette: Palette): void {
    this.uniform("uThread").value = palette.thread;
    this.uniform("uSelection").value = palette.selection;
    this.uniform("uPositive").value = palette.positive[1];
    this.uniform("uNegative").value = palette.negative[1];
    this.uniform("uGlow").value = palette.glow;
  }

  uniform(name: string): { value: unknown } {
    return this.material.uniforms[name] as { value: unknown };
  }

  setCurves(curves: readonly Curve[]): void {
    const data = this.instances.resize(curves.length, [this.mesh]);
    curves.forEach((curve, slot) => {
      const at = slot * this.instances.stride;
      const fourth = [curve.token, curve.strength, curve.widthPx, curve.selected ? 1 : 0];
      curve.points.forEach((point, index) => {
        data.set(point, at + index * 4);
        data[at + index * 4 + 3] = fourth[index] as number;
      });
      data[at + 16] = curve.order[0];
      data[at + 17] = curve.order[1];
      data[at + 18] = curve.hue ?? 0;
    });
    this.instances.commit();
  }

  dispose(): void {
    this.instances.dispose();
    this.material.dispose();
  }
}
