import type { Layout, TilePlace } from "../layout/Layout";
import type { LayoutTexts } from "../layout/LayoutTexts";
import { columnsFor, layoutModel, tilesOf } from "../layout/layoutModel";
import { layoutShapes } from "../layout/layoutShapes";
import { type Format, formatOf } from "../layout/Metrics";
import type { ShapeView } from "../layout/ShapeView";
import type { Anatomy, Token } from "../protocol/schema.generated";
import { tileFace, tileText } from "./tileText";

/** Where everything stands: made anew for another model, another format or more columns, and for nothing else. */
export class World {
  layout: Layout | null = null;
  tiles: TilePlace[] = [];
  /** Models without values, drawn in place of one that has some. */
  shape: ShapeView | null = null;
  private anatomy: Anatomy | null = null;
  private format: Format | null = null;

  /** Whether a window so wide shows another world. */
  isForeign(windowWidth: number): boolean {
    return this.format !== formatOf(windowWidth);
  }

  /** Places a model with its tokens. `measure` gives the width of a text, in units of its size. */
  place(
    anatomy: Anatomy | null,
    tokens: readonly Token[],
    windowWidth: number,
    measure: (text: string, face: "mono" | "sans") => number,
    texts: LayoutTexts,
  ): void {
    const isKept =
      anatomy === this.anatomy &&
      this.layout?.columns === columnsFor(tokens.length) &&
      !this.isForeign(windowWidth);
    this.anatomy = anatomy;
    this.format = formatOf(windowWidth);
    const { shape, format } = this;
    if (!isKept)
      this.layout = shape
        ? layoutShapes(shape, texts, format)
        : anatomy && layoutModel(anatomy, tokens.length, texts, format);
    const ems = tokens.map((each) => {
      const { face, size } = tileFace(each);
      return measure(tileText(each.text), face) * size;
    });
    this.tiles = this.layout ? tilesOf(this.layout, ems) : [];
  }
}
