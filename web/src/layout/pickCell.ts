import type { Cell } from "./Cell";
import { normalOf } from "./Frame";
import { cellOn, type Plate } from "./Plate";
import type { Rect } from "./Rect";
import { add, dot, scale, subtract, type Vec3 } from "./Vec3";

export interface Ray {
  origin: Vec3;
  direction: Vec3;
}

/** Where a ray meets the plane of a rectangle, in fractions across and down it (beyond 0..1: beside it). */
export function fractionsAt(ray: Ray, plate: Rect): { u: number; v: number; distance: number } | null {
  const normal = normalOf(plate);
  const facing = dot(ray.direction, normal);
  if (Math.abs(facing) < 1e-9 * Math.sqrt(dot(normal, normal))) return null;
  const distance = dot(subtract(plate.corner, ray.origin), normal) / facing;
  if (!(distance > 0)) return null;
  const on = subtract(add(ray.origin, scale(ray.direction, distance)), plate.corner);
  return {
    u: dot(on, plate.right) / dot(plate.right, plate.right),
    v: dot(on, plate.down) / dot(plate.down, plate.down),
    distance,
  };
}

/** Where a ray meets a rectangle; null where it passes by. */
export function meet(ray: Ray, plate: Rect): { u: number; v: number; distance: number } | null {
  const at = fractionsAt(ray, plate);
  return at && at.u >= 0 && at.u <= 1 && at.v >= 0 && at.v <= 1 ? at : null;
}

/** The cell that a ray meets first. */
export function pickCell(ray: Ray, plates: Iterable<Plate>): { cell: Cell; plate: Plate; at: Vec3 } | null {
  let nearest: { plate: Plate; u: number; v: number; distance: number } | null = null;
  for (const plate of plates) {
    const hit = meet(ray, plate);
    if (hit && (!nearest || hit.distance < nearest.distance)) nearest = { plate, ...hit };
  }
  if (!nearest) return null;
  const at = add(ray.origin, scale(ray.direction, nearest.distance));
  return { cell: cellOn(nearest.plate, nearest.u, nearest.v), plate: nearest.plate, at };
}
