import {
  Box2,
  DataArrayTexture,
  DataTexture,
  FloatType,
  NearestFilter,
  RedFormat,
  Vector2,
  Vector3,
  type WebGLRenderer,
} from "three";
import { STATES } from "./cellStates";

/**
 * A page is this many texels wide and high, by its binary logarithm: so few that the matrices of heads, which are narrow,
 * fill theirs.
 */
export const PAGE_BITS = 5;
export const PAGE_SIDE = 2 ** PAGE_BITS;
/** A layer of the texture, one MiB, is this wide and high: little enough that a few pages more take little more. */
const LAYER_SIDE = 512;
export const PAGES_ACROSS = LAYER_SIDE / PAGE_SIDE;
const LAYER_PAGES = PAGES_ACROSS ** 2;
const LAYER_TEXELS = LAYER_SIDE ** 2;
/**
 * From afar there are none. 48 MiB of numbers, on the device and once more here, are several screens full; every WebGL2
 * device has 256 layers.
 */
const [FIRST_LAYERS, MOST_LAYERS] = [6, 48];
/** The texture grows by so much of itself: each time, all of it is sent again. */
const GROWTH = 1 / 4;

interface Area {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** A float texture in pages of one size, each of which holds part of one matrix at one level. Only what changed is sent. */
export class Atlas {
  texture: DataArrayTexture;
  /** Sent to the device since the page was opened. */
  uploadedBytes = 0;
  /** What each layer holds. */
  private readonly layers: Float32Array<ArrayBuffer>[] = [];
  /** The layers as what is copied from. */
  private readonly sources: DataTexture[] = [];
  private readonly used: boolean[] = [];
  private readonly changed = new Map<number, Area>();
  /** Layers to be sent whole: the texture has grown since. */
  private stale = 0;
  private next = 0;
  private usedCount = 0;
  readonly mostPages: number;

  constructor(mostPages = MOST_LAYERS * LAYER_PAGES) {
    this.mostPages = mostPages;
    this.texture = makeTexture(1, 1);
  }

  get bytes(): number {
    return this.layers.length * LAYER_TEXELS * Float32Array.BYTES_PER_ELEMENT;
  }

  get isFull(): boolean {
    return this.usedCount >= this.mostPages;
  }

  /** An empty page; null where there is no room. */
  take(): number | null {
    if (this.isFull) return null;
    if (this.usedCount === this.used.length) this.grow();
    // One after the other, so that what comes together lies together and is sent together.
    while (this.used[this.next]) this.next = (this.next + 1) % this.used.length;
    const page = this.next;
    this.used[page] = true;
    this.usedCount += 1;
    for (let row = 0; row < PAGE_SIDE; row++) this.row(page, row).fill(STATES.absent);
    this.change(page, 0, 0, PAGE_SIDE, PAGE_SIDE);
    return page;
  }

  give(page: number): void {
    this.used[page] = false;
    this.usedCount -= 1;
    this.changed.delete(page);
    this.next = Math.min(this.next, page);
  }

  read(page: number, column: number, row: number): number {
    return this.layerOf(page)[offsetOf(page) + row * LAYER_SIDE + column] as number;
  }

  /** A row of a page, to be written into; `change` says that it was. */
  row(page: number, row: number): Float32Array {
    const at = offsetOf(page) + row * LAYER_SIDE;
    return this.layerOf(page).subarray(at, at + PAGE_SIDE);
  }

  change(page: number, left: number, top: number, right: number, bottom: number): void {
    const before = this.changed.get(page);
    this.changed.set(page, {
      left: Math.min(left, before?.left ?? left),
      top: Math.min(top, before?.top ?? top),
      right: Math.max(right, before?.right ?? right),
      bottom: Math.max(bottom, before?.bottom ?? bottom),
    });
  }

  /** Sends what changed to the device; neighbours that changed alike in one piece. */
  upload(renderer: WebGLRenderer): void {
    for (let layer = 0; layer < this.stale; layer++)
      this.copy(renderer, layer, new Vector2(0, 0), new Vector2(LAYER_SIDE, LAYER_SIDE));
    const pages = [...this.changed.keys()]
      .filter((page) => page >= this.stale * LAYER_PAGES)
      .sort((one, other) => one - other);
    this.stale = 0;
    for (let at = 0; at < pages.length; ) {
      const first = pages[at] as number;
      const area = this.changed.get(first) as Area;
      let last = first;
      for (at++; at < pages.length; at++) {
        const next = pages[at] as number;
        const beside = this.changed.get(next) as Area;
        const isBeside = next === last + 1 && next % PAGES_ACROSS !== 0;
        if (!isBeside || beside.top !== area.top || beside.bottom !== area.bottom) break;
        if (beside.left !== 0 || (this.changed.get(last) as Area).right !== PAGE_SIDE) break;
        last = next;
      }
      this.send(renderer, first, last, area, (this.changed.get(last) as Area).right);
    }
    this.changed.clear();
  }

  /** The device has lost what it was sent, or is given a new texture. */
  sendAgain(): void {
    this.used.forEach((isUsed, page) => {
      if (isUsed) this.change(page, 0, 0, PAGE_SIDE, PAGE_SIDE);
    });
  }

  dispose(): void {
    this.texture.dispose();
  }

  private send(renderer: WebGLRenderer, first: number, last: number, area: Area, right: number): void {
    const { x, y } = placeOf(first);
    const from = new Vector2(x + area.left, y + area.top);
    const to = new Vector2(placeOf(last).x + right, y + area.bottom);
    this.copy(renderer, Math.floor(first / LAYER_PAGES), from, to);
  }

  private copy(renderer: WebGLRenderer, layer: number, from: Vector2, to: Vector2): void {
    renderer.copyTextureToTexture(
      this.sources[layer] as DataTexture,
      this.texture,
      new Box2(from, to),
      new Vector3(from.x, from.y, layer),
    );
    this.uploadedBytes += (to.x - from.x) * (to.y - from.y) * Float32Array.BYTES_PER_ELEMENT;
  }

  private layerOf(page: number): Float32Array {
    return this.layers[Math.floor(page / LAYER_PAGES)] as Float32Array;
  }

  private grow(): void {
    const held = this.layers.length;
    this.next = this.used.length;
    const added = held === 0 ? FIRST_LAYERS : Math.max(1, Math.floor(held * GROWTH));
    this.addLayers(Math.min(MOST_LAYERS - held, added));
    this.texture.dispose();
    this.texture = makeTexture(LAYER_SIDE, this.layers.length);
    this.stale = held;
  }

  private addLayers(count: number): void {
    for (let at = 0; at < count; at++) {
      const layer = new Float32Array(LAYER_TEXELS);
      this.layers.push(layer);
      this.sources.push(new DataTexture(layer, LAYER_SIDE, LAYER_SIDE, RedFormat, FloatType));
      for (let page = 0; page < LAYER_PAGES; page++) this.used.push(false);
    }
  }
}

/** Where a page lies in its layer. */
function placeOf(page: number): { x: number; y: number } {
  const within = page % LAYER_PAGES;
  return { x: (within % PAGES_ACROSS) * PAGE_SIDE, y: Math.floor(within / PAGES_ACROSS) * PAGE_SIDE };
}

/** Where a page begins among the texels of its layer. */
function offsetOf(page: number): number {
  const { x, y } = placeOf(page);
  return y * LAYER_SIDE + x;
}

/** Room on the device that nothing is sent to yet. */
function makeTexture(side: number, layers: number): DataArrayTexture {
  const texture = new DataArrayTexture(null, side, side, layers);
  texture.format = RedFormat;
  texture.type = FloatType;
  texture.internalFormat = "R32F";
  texture.minFilter = NearestFilter;
  texture.magFilter = NearestFilter;
  texture.unpackAlignment = 4;
  texture.source.dataReady = false;
  texture.needsUpdate = true;
  return texture;
}
