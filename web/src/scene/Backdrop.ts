import { BufferGeometry, Float32BufferAttribute, GLSL3, Mesh, ShaderMaterial, Vector2 } from "three";
import type { Palette } from "./palette";

const vertex = /* glsl */ `
out vec2 vAt;
void main() {
  vAt = position.xy * 0.5 + 0.5;
  gl_Position = vec4(position.xy, 0.999, 1.0);
}
`;

const fragment = /* glsl */ `
precision highp float;
uniform vec3 uCentre, uRim;
uniform vec2 uFocus;
in vec2 vAt;
out vec4 outColor;
void main() {
  float away = length((vAt - uFocus) * vec2(1.0, 0.85));
  vec3 color = mix(uCentre, uRim, smoothstep(0.08, 0.85, away));
  // A grain below one step of eight bits, so that the gradient does not band.
  float grain = fract(52.9829189 * fract(dot(gl_FragCoord.xy, vec2(0.06711056, 0.00583715)))) - 0.5;
  outColor = vec4(color + grain / 255.0, 1.0);
}
`;

/** The room the glass stands in: one triangle with a quiet vignette. */
export class Backdrop {
  readonly mesh: Mesh;
  private readonly material: ShaderMaterial;

  constructor(palette: Palette) {
    const geometry = new BufferGeometry();
    geometry.setAttribute("position", new Float32BufferAttribute([-1, -1, 0, 3, -1, 0, -1, 3, 0], 3));
    this.material = new ShaderMaterial({
      glslVersion: GLSL3,
      vertexShader: vertex,
      fragmentShader: fragment,
      depthTest: false,
      depthWrite: false,
      uniforms: { uCentre: { value: null }, uRim: { value: null }, uFocus: { value: new Vector2(0.5, 0.5) } },
    });
    this.mesh = new Mesh(geometry, this.material);
    this.mesh.frustumCulled = false;
    this.mesh.renderOrder = 0;
    this.setPalette(palette);
  }

  setPalette(palette: Palette): void {
    const { uniforms } = this.material;
    (uniforms.uCentre as { value: unknown }).value = palette.backdrop;
    (uniforms.uRim as { value: unknown }).value = palette.backdropEdge;
  }

  /** Where the light is, as fractions of the window. */
  setFocus(x: number, y: number): void {
    ((this.material.uniforms.uFocus as { value: Vector2 }).value as Vector2).set(x, y);
  }

  dispose(): void {
    this.mesh.geometry.dispose();
    this.material.dispose();
  }
}
