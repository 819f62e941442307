import { Float32BufferAttribute, InstancedBufferGeometry } from "three";

/** The square from 0 to 1 of which each instance is one, stretched along its own sides. */
export function unitQuad(): InstancedBufferGeometry {
  const quad = new InstancedBufferGeometry();
  quad.setAttribute("position", new Float32BufferAttribute([0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 1, 0], 3));
  quad.setIndex([0, 1, 2, 0, 2, 3]);
  return quad;
}
