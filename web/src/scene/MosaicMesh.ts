import { Mesh, type ShaderMaterial, Vector2, Vector3, Vector4 } from "three";
import type { Cell } from "../layout/Cell";
import { type Mosaic, tileFill } from "../layout/Mosaic";
import { glassMaterial } from "./glassMaterial";
import { Instances } from "./Instances";
import { mosaicFragment, mosaicVertex } from "./mosaicShader";
import { paint, showValues } from "./paint";
import type { Palette } from "./palette";
import type { Sheet } from "./Sheet";
import { unitQuad } from "./unitQuad";
import type { ValueStore } from "./ValueStore";
import type { NearSpan } from "./visiblePlates";

const NAMES = ["aCorner", "aRight", "aDown", "aGrid", "aPlace", "aScale", "aTurn"];
/** What stands where a part of a mosaic is not held. */
const BARE = { empty: 0, coming: 1, failed: 2, unchecked: 3 };

/** All mosaics in view in one instanced draw: one instance for all heads of a block, one for all its experts. */
export class MosaicMesh {
  readonly mesh: Mesh;
  private readonly material: ShaderMaterial;
  private readonly instances: Instances;
  private mosaics: readonly Mosaic[] = [];
  private hovered: Cell | null = null;

  constructor(palette: Palette) {
    const quad = unitQuad();
    this.instances = new Instances(quad, NAMES);
    this.material = glassMaterial(mosaicVertex, mosaicFragment, {
      uValues: { value: null },
      uPages: { value: null },
      uLogarithmic: { value: 0 },
      uBackdrop: { value: null },
      uGlass: { value: null },
      uEdge: { value: null },
      uSelection: { value: null },
      uPositive: { value: null },
      uNegative: { value: null },
      uProbability: { value: null },
      uWeight: { value: null },
      uOpacity: { value: 1 },
      uTint: { value: 0 },
      uGlow: { value: 1 },
      uPass: { value: 2 },
      uNear: { value: new Vector3(1, 1, 2) },
      uSpan: { value: new Vector2(1, 2) },
      uHover: { value: new Vector4(-1, -1, -1, -1) },
      uToken: { value: -1 },
    });
    this.mesh = new Mesh(quad, this.material);
    this.mesh.frustumCulled = false;
    this.mesh.renderOrder = 9;
    this.setPalette(palette);
  }

  setPalette(palette: Palette): void {
    paint(this.material, palette);
  }

  uniform(name: string): { value: unknown } {
    return this.material.uniforms[name] as { value: unknown };
  }

  /** These are in view. */
  write(mosaics: readonly Mosaic[], store: ValueStore, span: NearSpan, focal: number): void {
    this.mosaics = mosaics;
    const data = this.instances.resize(mosaics.length, [this.mesh]);
    mosaics.forEach((mosaic, slot) => {
      this.writeOne(data, slot * this.instances.stride, mosaic, slot, store);
    });
    this.instances.commit();
    (this.uniform("uNear").value as Vector3).set(span.floor * focal, span.fromPx, span.toPx);
    (this.uniform("uSpan").value as Vector2).set(span.mosaicFromPx, span.mosaicToPx);
    showValues(this.material, store);
    this.mark();
  }

  /** The cell that is pointed at: its tile, its row and its column stand out. */
  hover(cell: Cell | null): void {
    this.hovered = cell;
    this.mark();
  }

  dispose(): void {
    this.instances.dispose();
    this.material.dispose();
  }

  private mark(): void {
    const { hovered } = this;
    const number = hovered ? this.mosaics.findIndex(({ name }) => name === hovered.address) : -1;
    const mosaic = this.mosaics[number];
    const [first = -1, second = -1, third = -1] = hovered?.index ?? [];
    const marked = this.uniform("uHover").value as Vector4;
    if (!mosaic) marked.set(-1, -1, -1, -1);
    else if (mosaic.kind === "heads") marked.set(number, first, third, second);
    else marked.set(number, second, first, -1);
  }

  private writeOne(data: Float32Array, at: number, mosaic: Mosaic, number: number, store: ValueStore): void {
    const { kind, name, count, order } = mosaic;
    const heads = kind === "heads" ? store.leadsOf(name, count) : null;
    const sheet = kind === "experts" ? expertSheet(name, store) : undefined;
    const held = heads ?? (sheet?.area ? { at: sheet.area.at, columns: sheet.rows, rows: 1 } : null);
    const limit = held ? (store.rangeOf(name)?.limit ?? 0) : 0;
    data.set(mosaic.corner, at);
    data[at + 3] = number;
    data.set(mosaic.right, at + 4);
    data[at + 7] = mosaic.columns;
    data.set(mosaic.down, at + 8);
    data[at + 11] = mosaic.rows;
    data[at + 12] = mosaic.tilesAcross;
    data[at + 13] = mosaic.tilesDown;
    data.set(tileFill(mosaic), at + 14);
    data[at + 16] = held?.at ?? 0;
    data[at + 17] = sheet?.area?.columns ?? 0;
    data[at + 18] = sheet?.base.columns ?? 0;
    data[at + 19] = sheet?.base.rows ?? 0;
    data[at + 20] = held ? Math.min(mosaic.columns, held.columns) : 0;
    data[at + 21] = held
      ? Math.min(kind === "heads" ? mosaic.rows : count, kind === "heads" ? held.rows : count)
      : 0;
    data[at + 22] = limit > 0 ? 1 / limit : 0;
    data[at + 23] = count;
    data[at + 24] = order[0];
    data[at + 25] = order[1];
    data[at + 26] = BARE[bareOf(mosaic, store)];
    data[at + 27] = kind === "experts" ? 1 : 0;
  }
}

/** The shares of experts, if they are held as they are: a pool of several tells nothing of each. */
function expertSheet(name: string, store: ValueStore): Sheet | undefined {
  const sheet = store.sheet(name, 0);
  return sheet?.base.columns === 0 ? sheet : undefined;
}

/** Why parts of a mosaic that are not held are not: it is said that they come only if they were asked for. */
export function bareOf({ kind, name, count, unchecked }: Mosaic, store: ValueStore): keyof typeof BARE {
  if (unchecked) return "unchecked";
  const leads = kind === "heads" ? Array.from({ length: count }, (_, lead) => lead) : [0];
  const missing = leads.filter((lead) => !store.sheet(name, lead));
  const why = new Set(missing.map((lead) => store.whyMissing(name, lead)));
  return why.has("failed") ? "failed" : why.has("coming") ? "coming" : "empty";
}
