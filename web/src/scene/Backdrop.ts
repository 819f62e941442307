import { BufferGeometry, Float32BufferAttribute, GLSL3, Mesh, ShaderMaterial, Vector2 } from "three";
import type { Palette } from "./palette";

/** The vignette is computed at the corners of this many cells and drawn straight in between: it covers every pixel. */
const CELLS_X = 20;
const CELLS_Y = 14;

const vertex = /* glsl */ `
uniform vec3 uCentre, uRim;
uniform vec2 uFocus;
out vec3 vColor;
void main() {
  float away = length((position.xy * 0.5 + 0.5 - uFocus) * vec2(1.0, 0.85));
  vColor = mix(uCentre, uRim, smoothstep(0.08, 0.85, away));
  gl_Position = vec4(position.xy, 0.999, 1.0);
}
`;

const fragment = /* glsl */ `
precision highp float;
in vec3 vColor;
out vec4 outColor;
void main() {
  // A grain below one step of eight bits, so that the gradient does not band.
  float grain = fract(52.98 * fract(dot(gl_FragCoord.xy, vec2(0.0671, 0.00584)))) - 0.5;
  outColor = vec4(vColor + grain * 0.0039, 1.0);
}
`;

/** The room the glass stands in: a quiet vignette behind everything. */
export class Backdrop {
  readonly mesh: Mesh<BufferGeometry, ShaderMaterial>;

  constructor(palette: Palette) {
    const positions: number[] = [];
    const indices: number[] = [];
    for (let y = 0; y <= CELLS_Y; y++) {
      for (let x = 0; x <= CELLS_X; x++) {
        positions.push((x / CELLS_X) * 2 - 1, (y / CELLS_Y) * 2 - 1, 0);
        if (x === 0 || y === 0) continue;
        const at = y * (CELLS_X + 1) + x;
        indices.push(at - CELLS_X - 2, at - CELLS_X - 1, at, at - CELLS_X - 2, at, at - 1);
      }
    }
    const geometry = new BufferGeometry();
    geometry.setAttribute("position", new Float32BufferAttribute(positions, 3));
    geometry.setIndex(indices);
    const material = new ShaderMaterial({
      glslVersion: GLSL3,
      vertexShader: vertex,
      fragmentShader: fragment,
      depthTest: false,
      depthWrite: false,
      uniforms: { uCentre: { value: null }, uRim: { value: null }, uFocus: { value: new Vector2(0.5, 0.5) } },
    });
    this.mesh = new Mesh(geometry, material);
    this.mesh.frustumCulled = false;
    this.mesh.renderOrder = 0;
    this.setPalette(palette);
  }

  setPalette(palette: Palette): void {
    const { uniforms } = this.mesh.material;
    (uniforms.uCentre as { value: unknown }).value = palette.backdrop;
    (uniforms.uRim as { value: unknown }).value = palette.backdropEdge;
  }

  /** Where the light is, as fractions of the window. */
  setFocus(x: number, y: number): void {
    (this.mesh.material.uniforms.uFocus as { value: Vector2 }).value.set(x, y);
  }

  dispose(): void {
    this.mesh.geometry.dispose();
    this.mesh.material.dispose();
  }
}
