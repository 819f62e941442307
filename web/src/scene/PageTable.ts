import { DataTexture, NearestFilter, RedIntegerFormat, UnsignedIntType } from "three";

/** Entries in a row of the texture. */
const ACROSS = 1024;
const FIRST_ROWS = 16;

/** A rectangle of entries: one for each part of a matrix that fits a page at the finest level held of it. */
export interface TableArea {
  at: number;
  columns: number;
  rows: number;
}

/** Which page holds which part of a matrix, at which level: an unsigned integer texture that the shader looks up. */
export class PageTable {
  texture: DataTexture;
  uploadedBytes = 0;
  private data = new Uint32Array(ACROSS * FIRST_ROWS);
  private end = 0;
  private isStale = false;

  constructor() {
    this.texture = makeTexture(this.data);
  }

  get bytes(): number {
    return this.data.byteLength;
  }

  /** Where the next entries would not fit any more without growing: worth putting in order first. */
  get isFull(): boolean {
    return this.end >= this.data.length;
  }

  /** Forgets every area: they are all asked for anew. */
  clear(): void {
    this.data.fill(0);
    this.end = 0;
    this.isStale = true;
  }

  take(columns: number, rows: number): TableArea {
    const area = { at: this.end, columns, rows };
    this.end += columns * rows;
    if (this.end > this.data.length) {
      let size = this.data.length;
      while (size < this.end) size *= 2;
      const grown = new Uint32Array(size);
      grown.set(this.data);
      this.data = grown;
      this.texture.dispose();
      this.texture = makeTexture(this.data);
    }
    return area;
  }

  fits(columns: number, rows: number): boolean {
    return this.end + columns * rows <= this.data.length;
  }

  set(area: TableArea, column: number, row: number, entry: number): void {
    this.data[area.at + row * area.columns + column] = entry;
    this.isStale = true;
  }

  get(area: TableArea, column: number, row: number): number {
    return this.data[area.at + row * area.columns + column] as number;
  }

  /** Three sends it with the next frame. */
  upload(): void {
    if (!this.isStale) return;
    this.isStale = false;
    this.texture.needsUpdate = true;
    this.uploadedBytes += this.bytes;
  }

  dispose(): void {
    this.texture.dispose();
  }
}

/** An entry: the page, and how often rows and columns were halved in it. 0: no page. */
export function entryOf(page: number, columnLevel: number, rowLevel: number): number {
  return page + 1 + columnLevel * 2 ** 16 + rowLevel * 2 ** 21;
}

export function readEntry(entry: number): { page: number; columnLevel: number; rowLevel: number } {
  return { page: (entry & 0xffff) - 1, columnLevel: (entry >>> 16) & 31, rowLevel: entry >>> 21 };
}

function makeTexture(data: Uint32Array): DataTexture {
  const texture = new DataTexture(
    data as Uint32Array<ArrayBuffer>,
    ACROSS,
    data.length / ACROSS,
    RedIntegerFormat,
    UnsignedIntType,
  );
  texture.internalFormat = "R32UI";
  texture.minFilter = NearestFilter;
  texture.magFilter = NearestFilter;
  texture.unpackAlignment = 4;
  texture.needsUpdate = true;
  return texture;
}
