import { Scene as Graph, type Vector2 } from "three";
import type { Vec3 } from "../layout/Vec3";
import { Backdrop } from "./Backdrop";
import { CurveMesh } from "./CurveMesh";
import type { GlyphAtlas } from "./GlyphAtlas";
import { PlateMesh } from "./PlateMesh";
import type { Palette } from "./palette";
import { SlabMesh } from "./SlabMesh";
import { TextMesh } from "./TextMesh";

/** Everything that is drawn, a draw call each (text two), back to front. */
export class Meshes {
  readonly graph = new Graph();
  readonly backdrop: Backdrop;
  readonly threads: CurveMesh;
  readonly plates: PlateMesh;
  readonly slabs: SlabMesh;
  /** Lines that lie over everything: from a selected cell to its operands. */
  readonly overlay: CurveMesh;
  readonly text: TextMesh;

  constructor(palette: Palette, atlas: GlyphAtlas) {
    this.backdrop = new Backdrop(palette);
    this.threads = new CurveMesh(palette, 10);
    this.plates = new PlateMesh(palette);
    this.slabs = new SlabMesh(palette);
    this.overlay = new CurveMesh(palette, 50);
    this.text = new TextMesh(atlas, palette);
    this.graph.matrixWorldAutoUpdate = false;
    this.graph.add(
      this.backdrop.mesh,
      this.threads.mesh,
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

  /** In CSS pixels, and in those of the canvas. */
  setViewport(width: number, height: number, bufferWidth: number, bufferHeight: number): void {
    this.text.setViewport(bufferWidth, bufferHeight);
    for (const curves of [this.threads, this.overlay]) {
      (curves.uniform("uViewport").value as Vector2).set(width, height);
    }
  }

  setLight(pass: number, newest: readonly [number, number]): void {
    for (const part of [this.threads, this.overlay, this.slabs]) part.uniform("uPass").value = pass;
    this.plates.uniform<number>("uPass").value = pass;
    this.plates.uniform<Vector2>("uNewest").value.set(...newest);
  }

  setEye(eye: Vec3): void {
    this.slabs.setEye(eye);
  }

  setToken(token: number): void {
    this.plates.uniform<number>("uToken").value = token;
    this.threads.uniform("uToken").value = token;
  }

  emphasize(names: ReadonlySet<string>): void {
    this.plates.emphasize(names);
    this.threads.uniform("uDimOthers").value = names.size > 0 ? 1 : 0;
  }

  dispose(): void {
    for (const part of this.all) part.dispose();
  }

  private get all() {
    return [this.backdrop, this.threads, this.plates, this.slabs, this.overlay, this.text];
  }
}
