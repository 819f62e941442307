import { Scene as Graph, Vector2, type WebGLRenderer } from "three";
import type { Vec3 } from "../layout/Vec3";
import { Backdrop } from "./Backdrop";
import { CurveMesh } from "./CurveMesh";
import { FarMesh } from "./FarMesh";
import type { GlyphAtlas } from "./GlyphAtlas";
import { MosaicMesh } from "./MosaicMesh";
import { PlateMesh } from "./PlateMesh";
import type { Palette } from "./palette";
import { SlabMesh } from "./SlabMesh";
import { TextMesh } from "./TextMesh";

/** Everything that is drawn, a draw call each (text two), back to front. */
export class Meshes {
  readonly graph = new Graph();
  readonly backdrop: Backdrop;
  /** The cards of blocks, from afar. */
  readonly far: FarMesh;
  /** All heads, or experts, of a block, from a middle distance; and the lines to its experts. */
  readonly mosaics: MosaicMesh;
  readonly routes: CurveMesh;
  readonly threads: CurveMesh;
  /** What heads read that matter, from afar. */
  readonly arcs: CurveMesh;
  readonly plates: PlateMesh;
  readonly slabs: SlabMesh;
  /** Lines that lie over everything: from a selected cell to its operands. */
  readonly overlay: CurveMesh;
  readonly text: TextMesh;

  constructor(palette: Palette, atlas: GlyphAtlas) {
    this.backdrop = new Backdrop(palette);
    this.far = new FarMesh(palette);
    this.mosaics = new MosaicMesh(palette);
    this.routes = new CurveMesh(palette, 11);
    this.threads = new CurveMesh(palette, 10);
    this.arcs = new CurveMesh(palette, 12);
    this.plates = new PlateMesh(palette);
    this.slabs = new SlabMesh(palette);
    this.overlay = new CurveMesh(palette, 50);
    this.text = new TextMesh(atlas, palette);
    this.graph.matrixWorldAutoUpdate = false;
    this.graph.add(
      this.backdrop.mesh,
      this.far.mesh,
      this.mosaics.mesh,
      this.routes.mesh,
      this.threads.mesh,
      this.arcs.mesh,
      this.plates.mesh,
      this.slabs.mesh,
      this.overlay.mesh,
      this.text.group,
    );
    for (const child of this.graph.children) child.matrixAutoUpdate = false;
  }

  setPalette(palette: Palette): void {
    for (const part of this.all) part.setPalette(palette);
  }

  /** Gives the canvas its size, at so many of its pixels for one of CSS. */
  setPixels(renderer: WebGLRenderer, width: number, height: number, ratio: number): void {
    const size = renderer.getSize(new Vector2());
    if (ratio === renderer.getPixelRatio() && size.x === width && size.y === height) return;
    renderer.setPixelRatio(ratio);
    renderer.setSize(width, height, false);
    const buffer = renderer.getDrawingBufferSize(size);
    this.text.setViewport(buffer.x, buffer.y);
    for (const curves of [this.threads, this.routes, this.arcs, this.overlay]) {
      (curves.uniform("uViewport").value as Vector2).set(width, height);
    }
  }

  setLight(pass: number, newest: readonly [number, number]): void {
    for (const part of [
      this.far,
      this.mosaics,
      this.threads,
      this.routes,
      this.arcs,
      this.overlay,
      this.slabs,
    ])
      part.uniform("uPass").value = pass;
    this.plates.uniform<number>("uPass").value = pass;
    this.plates.uniform<Vector2>("uNewest").value.set(...newest);
  }

  setEye(eye: Vec3): void {
    this.slabs.setEye(eye);
  }

  setToken(token: number): void {
    this.plates.uniform<number>("uToken").value = token;
    for (const part of [this.mosaics, this.threads, this.routes]) part.uniform("uToken").value = token;
  }

  emphasize(names: ReadonlySet<string>): void {
    this.plates.emphasize(names);
    this.threads.uniform("uDimOthers").value = names.size > 0 ? 1 : 0;
  }

  dispose(): void {
    for (const part of this.all) part.dispose();
  }

  private get all() {
    return [
      this.backdrop,
      this.far,
      this.mosaics,
      this.threads,
      this.routes,
      this.arcs,
      this.plates,
      this.slabs,
      this.overlay,
      this.text,
    ];
  }
}
