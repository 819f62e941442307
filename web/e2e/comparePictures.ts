import type { Page } from "playwright-core";

/** Pictures are kept and compared at half their size: glyphs that another processor draws a little otherwise agree there. */
const SCALE = 0.5;
/** Steps of a channel that are stored: what compresses well, and errs by less than what counts as another colour. */
const STEP = 8;

/** How two pictures differ; the numbers are of the tile of theirs that differs most. */
export interface Difference {
  /** The size of one or the other is another. */
  size: boolean;
  /** The share of a tile's pixels whose colour is nowhere near in the other picture. */
  share: number;
  /** How far apart the tiles' mean colours are, where 1 is from black to white. */
  hue: number;
  /** The corner of the tile that differs most, in pixels of the page. */
  at: { x: number; y: number };
}

/**
 * Two pixels differ for whoever looks if none of their neighbours has the colour either: an edge that is drawn a pixel
 * beside its place, or smoothed otherwise, does not. A tile whose mean colour is another was painted otherwise.
 */
export const TOLERANCE = { share: 0.06, hue: 0.02 };

export function isSame(difference: Difference): boolean {
  return !difference.size && difference.share <= TOLERANCE.share && difference.hue <= TOLERANCE.hue;
}

/** A picture at half its size, for comparison; in fewer colours, to be stored. */
export function shrink(page: Page, png: Buffer, step: 1 | typeof STEP): Promise<string> {
  return page.evaluate(
    async ([png, scale, step]) => {
      const bitmap = await createImageBitmap(
        new Blob([Uint8Array.from(atob(png), (byte) => byte.charCodeAt(0))]),
      );
      const [width, height] = [Math.round(bitmap.width * scale), Math.round(bitmap.height * scale)];
      const canvas = new OffscreenCanvas(width, height);
      const context = canvas.getContext("2d");
      if (!context) throw new Error("no 2D context");
      context.imageSmoothingQuality = "high";
      context.drawImage(bitmap, 0, 0, width, height);
      const image = context.getImageData(0, 0, width, height);
      for (let at = 0; at < image.data.length; at += 1) {
        if (at % 4 === 3) image.data[at] = 255;
        else image.data[at] = Math.min(255, Math.round((image.data[at] ?? 0) / step) * step);
      }
      context.putImageData(image, 0, 0);
      const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: "image/png" })).arrayBuffer());
      return btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ""));
    },
    [png.toString("base64"), SCALE, step] as const,
  );
}

export function shrinkForStore(page: Page, png: Buffer): Promise<string> {
  return shrink(page, png, STEP);
}

/** Compares two pictures that were shrunk. */
export function compare(page: Page, one: string, other: string): Promise<Difference> {
  return page.evaluate(compareInPage, [one, other, SCALE] as const);
}

async function compareInPage([one, other, scale]: readonly [string, string, number]): Promise<Difference> {
  const TILE = 20;
  /** As everyone sees it: text on its ground is some 0.6 apart, a hue and the next some 0.2. */
  const NEAR = 0.07;

  interface Picture {
    width: number;
    height: number;
    /** Red, green and blue as the screen has them, 0 to 1, three numbers a pixel. */
    colours: Float32Array;
  }

  async function read(png: string): Promise<Picture> {
    const bitmap = await createImageBitmap(
      new Blob([Uint8Array.from(atob(png), (byte) => byte.charCodeAt(0))]),
    );
    const { width, height } = bitmap;
    const context = new OffscreenCanvas(width, height).getContext("2d");
    if (!context) throw new Error("no 2D context");
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    const colours = new Float32Array(width * height * 3);
    for (let at = 0; at < width * height; at += 1)
      for (let channel = 0; channel < 3; channel += 1)
        colours[at * 3 + channel] = (data[at * 4 + channel] ?? 0) / 255;
    return { width, height, colours };
  }

  function apart(a: Float32Array, at: number, b: Float32Array, to: number): number {
    const red = (a[at] ?? 0) - (b[to] ?? 0);
    const green = (a[at + 1] ?? 0) - (b[to + 1] ?? 0);
    const blue = (a[at + 2] ?? 0) - (b[to + 2] ?? 0);
    return Math.sqrt((red * red + green * green + blue * blue) / 3);
  }

  /** Neither a pixel nor its neighbours have the colour that it has in the other picture. */
  function isAlone(from: Picture, to: Picture, x: number, y: number): boolean {
    const { width, height } = from;
    const at = (y * width + x) * 3;
    if (apart(from.colours, at, to.colours, at) <= NEAR) return false;
    for (let nextY = Math.max(0, y - 1); nextY <= Math.min(height - 1, y + 1); nextY += 1)
      for (let nextX = Math.max(0, x - 1); nextX <= Math.min(width - 1, x + 1); nextX += 1)
        if (apart(from.colours, at, to.colours, (nextY * width + nextX) * 3) <= NEAR) return false;
    return true;
  }

  const [first, second] = [await read(one), await read(other)];
  const { width, height } = first;
  const worst: Difference = { size: false, share: 0, hue: 0, at: { x: 0, y: 0 } };
  if (width !== second.width || height !== second.height) return { ...worst, size: true };
  let most = -1;
  for (let top = 0; top < height; top += TILE)
    for (let left = 0; left < width; left += TILE) {
      const [right, bottom] = [Math.min(width, left + TILE), Math.min(height, top + TILE)];
      const count = (right - left) * (bottom - top);
      const [sums, others] = [new Float32Array(3), new Float32Array(3)];
      let alone = 0;
      for (let y = top; y < bottom; y += 1)
        for (let x = left; x < right; x += 1) {
          if (isAlone(first, second, x, y) || isAlone(second, first, x, y)) alone += 1;
          for (let channel = 0; channel < 3; channel += 1) {
            sums[channel] =
              (sums[channel] ?? 0) + (first.colours[(y * width + x) * 3 + channel] ?? 0) / count;
            others[channel] =
              (others[channel] ?? 0) + (second.colours[(y * width + x) * 3 + channel] ?? 0) / count;
          }
        }
      const [share, hue] = [alone / count, apart(sums, 0, others, 0)];
      if (share + hue > most) {
        most = share + hue;
        worst.at = { x: Math.round(left / scale), y: Math.round(top / scale) };
      }
      worst.share = Math.max(worst.share, share);
      worst.hue = Math.max(worst.hue, hue);
    }
  return worst;
}
