import TinySDF from "@mapbox/tiny-sdf";
import { DataTexture, LinearFilter, RedFormat, UnsignedByteType } from "three";
import type { Face } from "./TextLine";

/** A glyph's rectangle in ems from the pen (y up from the baseline), and in the atlas as fractions. */
export interface Glyph {
  x: number;
  y: number;
  width: number;
  height: number;
  advance: number;
  uv: [number, number, number, number];
}

const SIDE = 1024;
const FONT_PX = 36;
const BUFFER_PX = 8;
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]/;
/** Distance that one unit of the field spans, in atlas pixels; the shader needs it to find one screen pixel. */
export const FIELD_PX = 12;
const FAMILIES: Record<Face, string> = {
  sans: '"Source Sans 3 Variable", "Source Sans 3", system-ui, sans-serif',
  mono: '"JetBrains Mono Variable", "JetBrains Mono", ui-monospace, monospace',
};
const WEIGHTS: Record<Face, string> = { sans: "500", mono: "500" };

/**
 * Signed distance fields of the characters in use, drawn by the browser's own text engine: the page's fonts where they
 * have the character, the system's where they have not. Knows nothing of scripts or hosts.
 */
export class GlyphAtlas {
  readonly texture: DataTexture;
  private readonly data = new Uint8Array(SIDE * SIDE);
  private readonly glyphs = new Map<string, Glyph>();
  private readonly writers: Record<Face, TinySDF>;
  private readonly segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });
  private readonly segments = new Map<string, string[]>();
  private x = 0;
  private y = 0;
  private shelf = 0;
  private readonly onChange: () => void;

  /** `onChange` is called when fonts arrive and everything must be written again. */
  constructor(onChange: () => void) {
    this.onChange = onChange;
    this.texture = new DataTexture(this.data, SIDE, SIDE, RedFormat, UnsignedByteType);
    this.texture.minFilter = LinearFilter;
    this.texture.magFilter = LinearFilter;
    this.texture.unpackAlignment = 1;
    const writer = (face: Face) =>
      new TinySDF({
        fontSize: FONT_PX,
        fontFamily: FAMILIES[face],
        fontWeight: WEIGHTS[face],
        buffer: BUFFER_PX,
        radius: FIELD_PX,
        cutoff: 0.35,
      });
    this.writers = { sans: writer("sans"), mono: writer("mono") };
    // Before a font has loaded the browser draws with another one, so every glyph is drawn again when it has.
    document.fonts.addEventListener("loadingdone", this.forget);
    this.request("Mia 0123456789");
  }

  get bytes(): number {
    return this.data.byteLength;
  }

  /** Asks the browser for the fonts that a text needs; they load only when something uses them. */
  request(text: string): void {
    for (const face of Object.keys(FAMILIES) as Face[]) {
      document.fonts.load(`${WEIGHTS[face]} ${FONT_PX}px ${FAMILIES[face]}`, text).catch(() => {});
    }
  }

  /** Width of a text in ems. */
  measure(text: string, face: Face = "sans"): number {
    return this.split(text).reduce((width, character) => width + this.glyph(character, face).advance, 0);
  }

  split(text: string): string[] {
    let parts = this.segments.get(text);
    if (!parts) {
      parts = [...this.segmenter.segment(text)].map((part) => part.segment);
      // A token is short and in one script, so one that is written from right to left is simply reversed.
      if (RIGHT_TO_LEFT.test(text)) parts.reverse();
      if (this.segments.size > 5000) this.segments.clear();
      this.segments.set(text, parts);
    }
    return parts;
  }

  glyph(character: string, face: Face): Glyph {
    const key = `${face}:${character}`;
    return this.glyphs.get(key) ?? this.draw(key, character, face);
  }

  dispose(): void {
    document.fonts.removeEventListener("loadingdone", this.forget);
    this.texture.dispose();
  }

  private readonly forget = (): void => {
    this.reset();
    this.onChange();
  };

  private reset(): void {
    this.glyphs.clear();
    this.data.fill(0);
    this.x = 0;
    this.y = 0;
    this.shelf = 0;
  }

  private draw(key: string, character: string, face: Face): Glyph {
    const sdf = this.writers[face].draw(character);
    if (this.x + sdf.width > SIDE) {
      this.x = 0;
      this.y += this.shelf;
      this.shelf = 0;
    }
    if (this.y + sdf.height > SIDE) this.reset();
    for (let row = 0; row < sdf.height; row++) {
      this.data.set(
        sdf.data.subarray(row * sdf.width, (row + 1) * sdf.width),
        (this.y + row) * SIDE + this.x,
      );
    }
    const glyph: Glyph = {
      x: (sdf.glyphLeft - BUFFER_PX) / FONT_PX,
      y: (sdf.glyphTop + BUFFER_PX) / FONT_PX,
      width: sdf.width / FONT_PX,
      height: sdf.height / FONT_PX,
      advance: sdf.glyphAdvance / FONT_PX,
      uv: [this.x / SIDE, this.y / SIDE, sdf.width / SIDE, sdf.height / SIDE],
    };
    this.x += sdf.width;
    this.shelf = Math.max(this.shelf, sdf.height);
    this.texture.needsUpdate = true;
    this.glyphs.set(key, glyph);
    return glyph;
  }
}
