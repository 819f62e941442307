import {
  Float32BufferAttribute,
  InstancedBufferGeometry,
  Mesh,
  type ShaderMaterial,
  Vector2,
  Vector3,
} from "three";
import { axesOf, eyeOf, FIELD_OF_VIEW, project, type View, windowOf } from "../layout/Camera";
import type { Cell } from "../layout/Cell";
import { type Plate, placeOn, shows } from "../layout/Plate";
import { fourCorners, middleOf } from "../layout/Rect";
import { dot, length, type Vec3 } from "../layout/Vec3";
import { isTokenAxis } from "../protocol/isTokenAxis";
import { glassMaterial } from "./glassMaterial";
import { Instances } from "./Instances";
import { paint, showValues } from "./paint";
import type { Palette } from "./palette";
import { plateFragment, plateVertex } from "./plateShader";
import type { ValueStore } from "./ValueStore";

const NAMES = ["aCorner", "aRight", "aDown", "aPlace", "aScale", "aTurn", "aState"];
const KIND = {
  diverging: 0,
  probability: 1,
  weight: 2,
  refused: 3,
  empty: 4,
  unchecked: 5,
  coming: 6,
  failed: 7,
};
/** Bits of what a plate's instance says of its matrix. */
const [TURNED, PATTERN] = [1, 2];
const SMALLEST_PX = 0.6;

/** All matrices in one instanced draw, sorted back to front, because glass lets through what is behind it. */
export class PlateMesh {
  readonly mesh: Mesh;
  private readonly material: ShaderMaterial;
  private readonly instances: Instances;
  private plates: Plate[] = [];
  private centers: Vec3[] = [];
  private corners: Vec3[][] = [];
  private points: (readonly Vec3[])[] = [];
  private order: number[] = [];
  private emphasized = new Set<string>();

  constructor(palette: Palette) {
    const box = new InstancedBufferGeometry();
    const { positions, faces, indices } = makeBox();
    box.setAttribute("position", new Float32BufferAttribute(positions, 3));
    box.setAttribute("face", new Float32BufferAttribute(faces, 1));
    box.setIndex(indices);
    this.instances = new Instances(box, NAMES);
    this.material = glassMaterial(plateVertex, plateFragment, {
      uValues: { value: null },
      uPages: { value: null },
      uLogarithmic: { value: 0 },
      uEye: { value: new Vector3() },
      uGlass: { value: null },
      uEdge: { value: null },
      uRefused: { value: null },
      uSelection: { value: null },
      uPositive: { value: null },
      uNegative: { value: null },
      uProbability: { value: null },
      uWeight: { value: null },
      uOpacity: { value: 1 },
      uBody: { value: 1 },
      uTint: { value: 0 },
      uGlow: { value: 1 },
      uPass: { value: 2 },
      uDimOthers: { value: 0 },
      uHover: { value: new Vector3(-1, -1, -1) },
      uSelect: { value: new Vector3(-1, -1, -1) },
      uToken: { value: -1 },
      uNewest: { value: new Vector2(-1, 0) },
    });
    this.mesh = new Mesh(box, this.material);
    this.mesh.frustumCulled = false;
    this.mesh.renderOrder = 20;
    this.setPalette(palette);
  }

  setPalette(palette: Palette): void {
    paint(this.material, palette);
  }

  uniform<T>(name: string): { value: T } {
    return this.material.uniforms[name] as { value: T };
  }

  /** `points`: for each plate, where it is judged how near it is. */
  setPlates(plates: Plate[], points: (readonly Vec3[])[]): void {
    this.plates = plates;
    this.points = points;
    this.centers = plates.map(middleOf);
    this.corners = plates.map(fourCorners);
  }

  emphasize(names: Iterable<string>): void {
    this.emphasized = new Set(names);
    this.uniform<number>("uDimOthers").value = this.emphasized.size > 0 ? 1 : 0;
  }

  /** Plate number, column and row of a cell, as the shader wants it. */
  mark(uniform: "uHover" | "uSelect", cell: Cell | null): void {
    const number = cell ? this.plates.findIndex((plate) => shows(plate, cell)) : -1;
    const plate = this.plates[number];
    const place = plate && cell ? placeOn(plate, cell) : { column: -1, row: -1 };
    this.uniform<Vector3>(uniform).value.set(number, place.column, place.row);
  }

  /** Sorts by distance and writes every instance: a few hundred rows of numbers, cheaper than keeping track. */
  write(store: ValueStore, view: View, nearness: (points: readonly Vec3[]) => number): void {
    const { back } = axesOf(view.pose);
    const eye = eyeOf(view.pose);
    const depths = this.centers.map((center) => dot(center, back));
    this.order = this.seen(view);
    this.order.sort((a, b) => (depths[a] as number) - (depths[b] as number));
    const data = this.instances.resize(this.order.length, [this.mesh]);
    // Many plates are judged at the same points.
    const known = new Map<readonly Vec3[], number>();
    const nearnessOf = (points: readonly Vec3[]) => {
      const found = known.get(points) ?? nearness(points);
      known.set(points, found);
      return found;
    };
    this.order.forEach((number, slot) => {
      const at = slot * this.instances.stride;
      this.writePlate(data, at, number, store);
      data[at + 26] = nearnessOf(this.points[number] as readonly Vec3[]);
    });
    this.instances.commit();
    this.uniform<Vector3>("uEye").value.set(...eye);
    showValues(this.material, store);
  }

  dispose(): void {
    this.instances.dispose();
    this.material.dispose();
  }

  /** Plates beside the window or smaller than a pixel cost nothing. */
  private seen(view: View): number[] {
    const isInWindow = windowOf(view);
    return this.plates.flatMap((plate, index) => {
      if (!isInWindow(this.corners[index] as Vec3[])) return [];
      const at = project(view, this.centers[index] as Vec3);
      // What one stands inside of has no centre to judge by.
      if (!at) return [index];
      const reach = (length(plate.right) + length(plate.down)) / 2;
      const focal = view.height / 2 / Math.tan(FIELD_OF_VIEW / 2);
      return (reach * focal) / Math.max(at.depth - reach, at.depth * 0.2) < SMALLEST_PX ? [] : [index];
    });
  }

  private writePlate(data: Float32Array, at: number, number: number, store: ValueStore): void {
    const plate = this.plates[number] as Plate;
    const sheet = store.sheet(plate.name, plate.lead);
    const area = sheet?.area;
    const last = plate.axes.length - 1;
    const countOf = ({ axis, count }: Plate["rows"]) =>
      axis < 0 ? 1 : Math.min(count, (axis === last ? sheet?.columns : sheet?.rows) ?? 0);
    const tokens = (axis: number) => isTokenAxis(plate.axes[axis]);
    const missing = store.whyMissing(plate.name, Math.max(0, plate.lead));
    const bare = plate.unchecked ? KIND.unchecked : missing ? KIND[missing] : KIND.empty;
    const kind = plate.refused ? KIND.refused : area ? KIND[plate.paint] : bare;
    const limit = area ? (store.rangeOf(plate.name)?.limit ?? 0) : 0;
    data.set(plate.corner, at);
    data[at + 3] = plate.thickness;
    data.set(plate.right, at + 4);
    data[at + 7] = plate.columns.count;
    data.set(plate.down, at + 8);
    data[at + 11] = plate.rows.count;
    data[at + 12] = area?.at ?? 0;
    data[at + 13] = area?.columns ?? 0;
    data[at + 14] = sheet?.base.columns ?? 0;
    data[at + 15] = sheet?.base.rows ?? 0;
    data[at + 16] = (plate.columns.axis === last ? 0 : TURNED) + (sheet?.form.isPattern ? PATTERN : 0);
    data[at + 17] = area ? countOf(plate.columns) : 0;
    data[at + 18] = area ? countOf(plate.rows) : 0;
    data[at + 19] = limit > 0 ? 1 / limit : 0;
    data[at + 20] = plate.order[0];
    data[at + 21] = plate.order[1];
    data[at + 22] = kind;
    data[at + 23] = tokens(plate.columns.axis) ? 1 : tokens(plate.rows.axis) ? 2 : 0;
    data[at + 24] = number;
    data[at + 25] = this.emphasized.has(plate.name) ? 1 : 0;
    data[at + 27] = plate.brightness;
  }
}

/** A unit box with six separate faces: x over the columns, y over the rows, z into the glass. The front comes last. */
function makeBox(): { positions: number[]; faces: number[]; indices: number[] } {
  const positions: number[] = [];
  const faces: number[] = [];
  const indices: number[] = [];
  const add = (face: number, corners: [number, number, number][]) => {
    const start = faces.length;
    for (const corner of corners) {
      positions.push(...corner);
      faces.push(face);
    }
    indices.push(start, start + 1, start + 2, start, start + 2, start + 3);
  };
  add(1, [
    [0, 0, 1],
    [1, 0, 1],
    [1, 1, 1],
    [0, 1, 1],
  ]);
  add(2, [
    [0, 0, 0],
    [0, 0, 1],
    [0, 1, 1],
    [0, 1, 0],
  ]);
  add(3, [
    [1, 0, 0],
    [1, 0, 1],
    [1, 1, 1],
    [1, 1, 0],
  ]);
  add(4, [
    [0, 0, 0],
    [1, 0, 0],
    [1, 0, 1],
    [0, 0, 1],
  ]);
  add(5, [
    [0, 1, 0],
    [1, 1, 0],
    [1, 1, 1],
    [0, 1, 1],
  ]);
  add(0, [
    [0, 0, 0],
    [1, 0, 0],
    [1, 1, 0],
    [0, 1, 0],
  ]);
  return { positions, faces, indices };
}
