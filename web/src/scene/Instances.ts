import {
  DynamicDrawUsage,
  InstancedBufferGeometry,
  InstancedInterleavedBuffer,
  InterleavedBufferAttribute,
  type Mesh,
} from "three";

/** The numbers of many instances of one shape: rows of four-component attributes in one buffer that grows. */
export class Instances {
  readonly stride: number;
  private readonly base: InstancedBufferGeometry;
  private readonly names: readonly string[];
  private buffer: InstancedInterleavedBuffer | null = null;
  private geometry: InstancedBufferGeometry;

  constructor(base: InstancedBufferGeometry, names: readonly string[]) {
    this.base = base;
    this.geometry = base;
    this.geometry.instanceCount = 0;
    this.names = names;
    this.stride = names.length * 4;
  }

  /** Room for `count` instances; `meshes` draw them. Write every one, then call `commit`. */
  resize(count: number, meshes: readonly Mesh[]): Float32Array {
    if (!this.buffer || this.buffer.count < count) {
      this.buffer = new InstancedInterleavedBuffer(
        new Float32Array(Math.ceil(count * 1.3 + 8) * this.stride),
        this.stride,
      );
      this.buffer.setUsage(DynamicDrawUsage);
      const old = this.geometry;
      // A geometry keeps the size of its first instance buffer, so a larger buffer needs a geometry of its own.
      this.geometry = new InstancedBufferGeometry();
      this.geometry.setIndex(this.base.index);
      for (const [name, attribute] of Object.entries(this.base.attributes)) {
        if (!this.names.includes(name)) this.geometry.setAttribute(name, attribute);
      }
      this.names.forEach((name, at) => {
        this.geometry.setAttribute(
          name,
          new InterleavedBufferAttribute(this.buffer as InstancedInterleavedBuffer, 4, at * 4),
        );
      });
      for (const mesh of meshes) mesh.geometry = this.geometry;
      if (old !== this.base) old.dispose();
    }
    this.geometry.instanceCount = count;
    for (const mesh of meshes) mesh.visible = count > 0;
    return this.buffer.array as Float32Array;
  }

  /** Draws the first `count` alone. */
  show(count: number): void {
    this.geometry.instanceCount = count;
  }

  commit(): void {
    if (this.buffer) this.buffer.needsUpdate = true;
  }

  dispose(): void {
    this.geometry.dispose();
    this.base.dispose();
  }
}
