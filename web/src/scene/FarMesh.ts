import { Mesh, type ShaderMaterial, Vector2, Vector3 } from "three";
import type { FarQuad } from "./FarQuad";
import { farFragment, farVertex } from "./farShader";
import { glassMaterial } from "./glassMaterial";
import { Instances } from "./Instances";
import { paint } from "./paint";
import type { Palette } from "./palette";
import { unitQuad } from "./unitQuad";

const NAMES = ["aCorner", "aRight", "aDown", "aLight", "aState"];
/** Whether a quad goes or comes where mosaics do. */
const MOSAIC = { stays: 0, goes: 1, comes: 2 };
const LOOK = { body: 0, card: 1, cell: 2, wing: 3, column: 4, voice: 5 };

/** How a quad is lit: see `PartLight`; `known` is 0 while it has not been tested. */
export interface QuadLight {
  light: number;
  known: number;
  isClipped: boolean;
  isOff: boolean;
}

/** The model from afar in one instanced draw: cards, cells, wings and columns, lit by what they are worth. */
export class FarMesh {
  readonly mesh: Mesh;
  private readonly material: ShaderMaterial;
  private readonly instances: Instances;
  private data: Float32Array = new Float32Array();
  private quads: readonly FarQuad[] = [];

  constructor(palette: Palette) {
    const quad = unitQuad();
    this.instances = new Instances(quad, NAMES);
    this.material = glassMaterial(farVertex, farFragment, {
      uGlass: { value: null },
      uEdge: { value: null },
      uPositive: { value: null },
      uNegative: { value: null },
      uSelection: { value: null },
      uThread: { value: null },
      uGlow: { value: 1 },
      uTint: { value: 0 },
      uPass: { value: 2 },
      uMix: { value: 1 },
      uNear: { value: new Vector3(1, 1, 2) },
      uSpan: { value: new Vector2(1, 2) },
      uHover: { value: -1 },
      uQuiet: { value: 0 },
      uEtched: { value: 0 },
      uFocal: { value: 1 },
      uWeight: { value: null },
    });
    this.mesh = new Mesh(quad, this.material);
    this.mesh.frustumCulled = false;
    this.mesh.renderOrder = 8;
    this.setPalette(palette);
  }

  setPalette(palette: Palette): void {
    paint(this.material, palette);
    this.uniform("uWeight").value = palette.weight[1];
  }

  uniform(name: string): { value: unknown } {
    return this.material.uniforms[name] as { value: unknown };
  }

  /** Other quads: those of the same part keep its light, the others are unlit until `setLights` is called. */
  setQuads(quads: readonly FarQuad[]): void {
    const before = new Map<string, Float32Array>();
    this.quads.forEach(({ part }, slot) => {
      const at = slot * this.instances.stride + 12;
      if (part !== null) before.set(part, this.data.slice(at, at + 8));
    });
    this.quads = quads;
    this.data = this.instances.resize(quads.length, [this.mesh]);
    quads.forEach((quad, slot) => {
      const at = slot * this.instances.stride;
      this.data.set(quad.corner, at);
      this.data[at + 3] = LOOK[quad.look];
      this.data.set(quad.right, at + 4);
      this.data[at + 7] = quad.order;
      this.data.set(quad.down, at + 8);
      this.data[at + 11] = MOSAIC[quad.mosaic ?? "stays"];
      const kept = quad.part === null ? undefined : before.get(quad.part);
      if (kept) this.data.set(kept, at + 12);
      else this.data.fill(0, at + 12, at + 20);
    });
    this.instances.commit();
  }

  /**
   * Other lights: each quad goes from the light that it has, `mix` of the way to the last one, to this one. `isLeft`
   * says which stand out while all others fade.
   */
  setLights(lightOf: (quad: FarQuad) => QuadLight, isLeft: (quad: FarQuad) => boolean, mix: number): void {
    const { data } = this;
    this.quads.forEach((quad, slot) => {
      const at = slot * this.instances.stride + 12;
      const next = lightOf(quad);
      for (const [from, value] of [
        [at, next.light],
        [at + 2, next.known],
      ] as const) {
        const [a, b] = [data[from] as number, data[from + 1] as number];
        data[from] = a + (b - a) * mix;
        data[from + 1] = value;
      }
      data[at + 4] = next.isOff ? 1 : 0;
      data[at + 5] = next.isClipped ? 1 : 0;
      data[at + 6] = isLeft(quad) ? 1 : 0;
    });
    this.instances.commit();
  }

  /** Leaves out those after the first `count`. */
  show(count: number): void {
    this.instances.show(Math.min(count, this.quads.length));
  }

  /** The rectangle that is pointed at, -1 for none; true where it is another one than before. */
  hover(quad: number): boolean {
    const hovered = this.uniform("uHover");
    const isNew = hovered.value !== quad;
    hovered.value = quad;
    return isNew;
  }

  dispose(): void {
    this.instances.dispose();
    this.material.dispose();
  }
}
