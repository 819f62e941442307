import type { Vector2, Vector3 } from "three";
import { FIELD_OF_VIEW, type View } from "../layout/Camera";
import { chosenExperts } from "../layout/chosenExperts";
import { arcsOfHead, chooseArcs, type FarArc } from "../layout/farArcs";
import { type FarTexts, insteadLabels, sourceLabels, wordLabels } from "../layout/farLabels";
import { type FarLights, lightsByAdds, lightsByWorth, NO_LIGHTS } from "../layout/farLights";
import type { Label, Layout, TilePlace } from "../layout/Layout";
import { expertLabels, headLabels } from "../layout/mosaicLabels";
import { meet, type Ray } from "../layout/pickCell";
import { middleOf } from "../layout/Rect";
import type { RideStop } from "../layout/RideStop";
import type { ShapeView } from "../layout/ShapeView";
import { add, scale, type Vec3 } from "../layout/Vec3";
import type { Distribution, Effects, Reading, Token, Without } from "../protocol/schema.generated";
import type { Curve } from "./Curve";
import type { FarMesh, QuadLight } from "./FarMesh";
import type { FarQuad } from "./FarQuad";
import { farCurves } from "./farCurves";
import { farQuads, tokensPerColumn } from "./farQuads";
import type { TokenLights } from "./Rack";
import { countShown, shapeQuads } from "./shapeQuads";
import { tileText } from "./tileText";
import { FAR_ONLY, largeBlocks, mosaicAt, type NearSpan, nearnessOf } from "./visiblePlates";

/** How long another reading takes to move over. */
const FADE_MS = 280;
const UNLIT: QuadLight = { light: 0, known: 0, isClipped: false, isOff: false };

/** The words of a reading on a layout, and those on the heads of blocks that have been seen large. */
interface Labelled {
  layout: Layout;
  tokens: readonly Token[];
  labels: Label[];
  byBlock: Map<number, { heads: Label[]; experts: Label[] }>;
}

/** What mattered for one decision, as it is drawn from afar. Told by `Scene`; draws into `FarMesh`, curves and labels. */
export class FarView {
  reducedMotion = false;
  /** What is drawn has no values: parts are etched by how much they hold. */
  shape: ShapeView | null = null;
  reading: Reading | null = null;
  without: Without | null = null;
  ride: RideStop | null = null;
  quads: FarQuad[] = [];
  private effects: Effects | null = null;
  private lit: "worth" | "adds" = "worth";
  private lights: FarLights = NO_LIGHTS;
  private arcs: FarArc[] = [];
  private fade: { start: number | null } | null = null;
  private share = 1;
  private stale = { quads: true, lights: true };
  private layout: Layout | null = null;
  private position = -1;
  private chosen: ReadonlyMap<number, readonly number[]> = new Map();
  private labelled: Labelled | null = null;
  private span = FAR_ONLY;
  private seen: View | null = null;
  private readonly texts: FarTexts;

  constructor(texts: FarTexts) {
    this.texts = texts;
  }

  tell(
    next: Partial<Pick<FarView, "reading" | "without" | "ride">> & {
      effects?: Effects | null;
      lit?: "worth" | "adds";
    },
  ): void {
    if (next.reading !== undefined) this.reading = next.reading;
    if (next.effects !== undefined) this.effects = next.effects;
    if (next.without !== undefined) this.without = next.without;
    if (next.ride !== undefined) this.ride = next.ride;
    if (next.lit !== undefined) this.lit = next.lit;
    this.lights = this.readLights();
    this.arcs = this.chooseArcs();
    this.labelled = null;
    this.stale.lights = true;
    const position = this.reading?.position ?? -1;
    const chosen = chosenExperts([...(this.reading?.parts ?? []), ...(this.effects?.parts ?? [])]);
    if (position === this.position && `${[...chosen]}` === `${[...this.chosen]}`) return;
    this.position = position;
    this.chosen = chosen;
    this.stale.quads = true;
  }

  get tokenLights(): TokenLights {
    const light = (position: number) => this.lights.byPart.get(`token.${position}`)?.light ?? 0;
    const isOff = (position: number) => this.isOff(`token.${position}`);
    return { position: this.reading?.position ?? -1, light, isOff };
  }

  /** The distribution to show: as it is, or without the parts that are off. */
  distributionOf(distribution: Distribution | null): Distribution | null {
    const { without } = this;
    if (!without || distribution?.pos !== without.position) return distribution;
    const candidates = without.tokens.map(({ id, text, probability }) => ({
      token: { id, text, special: false },
      probability,
      filtered_probability: probability,
      logit: Math.log(probability),
      pruned_by: null,
      stages: [],
    }));
    return { ...distribution, candidates };
  }

  /** The number of the quad whose part a ray meets, of cells before the card that they lie on; -1 for none. */
  pick(ray: Ray): number {
    let found = -1;
    this.quads.forEach((quad, number) => {
      if (quad.part === null || !meet(ray, quad) || !this.isSeen(quad)) return;
      if (found < 0 || quad.look === "cell") found = number;
    });
    return found;
  }

  /** Whether it is drawn from here: where matrices are near it is not, and experts change their places. */
  private isSeen(quad: FarQuad): boolean {
    const { span, seen } = this;
    if (!seen) return true;
    const middle = middleOf(quad);
    if (nearnessOf(span, seen, middle) > 0.5) return false;
    return !quad.mosaic || mosaicAt(span, seen, middle) > 0.5 === (quad.mosaic === "comes");
  }

  /** The middle of a part; null if it is not drawn. */
  middleOf(part: string): Vec3 | null {
    const quad = this.quads.find((each) => each.part === part);
    return quad ? middleOf(quad) : null;
  }

  /** Where a ray meets a card or the spine; null where it passes by. */
  placeOn(ray: Ray): Vec3 | null {
    // The first is the spine.
    const quad = this.quads[Math.max(0, this.pick(ray))];
    const hit = quad && meet(ray, quad);
    return hit ? add(ray.origin, scale(ray.direction, hit.distance)) : null;
  }

  isOff(part: string | null): boolean {
    return part !== null && (this.without?.parts.includes(part) ?? false);
  }

  /** Moves on; true while lights are changing. */
  advance(now: number): boolean {
    if (!this.fade) return false;
    this.fade.start ??= now;
    this.share = Math.min(1, (now - this.fade.start) / FADE_MS);
    if (this.share >= 1) this.fade = null;
    return this.fade !== null;
  }

  get isFading(): boolean {
    return this.fade !== null;
  }

  /** Brings the mesh up to date. */
  write(mesh: FarMesh, layout: Layout | null, span: NearSpan, view: View): void {
    this.span = span;
    this.seen = view;
    if (layout !== this.layout || this.stale.quads) {
      this.layout = layout;
      this.stale.quads = false;
      this.quads = !layout
        ? []
        : this.shape
          ? shapeQuads(layout)
          : farQuads(layout, this.position, this.chosen);
      mesh.setQuads(this.quads);
      this.stale.lights = true;
    }
    if (this.stale.lights) {
      this.stale.lights = false;
      const sizes = this.streamSizes();
      const stop = this.ride;
      mesh.setLights(
        (quad) => this.lightOf(quad, sizes),
        (quad) => stop === null || quad.look === "voice" || (quad.part !== null && quad.part === stop.part),
        this.share,
      );
      this.fade = this.reducedMotion ? null : { start: null };
      this.share = this.fade ? 0 : 1;
    }
    const focal = view.height / 2 / Math.tan(FIELD_OF_VIEW / 2);
    mesh.uniform("uFocal").value = focal;
    if (this.shape) mesh.show(countShown(this.quads, focal / view.pose.distance));
    mesh.uniform("uEtched").value = this.shape ? 1 : 0;
    (mesh.uniform("uNear").value as Vector3).set(span.floor * focal, span.fromPx, span.toPx);
    (mesh.uniform("uSpan").value as Vector2).set(span.mosaicFromPx, span.mosaicToPx);
    mesh.uniform("uMix").value = this.share;
    mesh.uniform("uQuiet").value = this.ride ? 1 : 0;
  }

  curves(layout: Layout, tiles: readonly TilePlace[]): Curve[] {
    if (!this.reading) return [];
    return farCurves(layout, this.arcs, this.reading.position, tiles, (arc) => this.weightOf(arc));
  }

  /** The words that stand in the picture: made anew for another reading, layout or text, not for each frame. */
  labels(layout: Layout, tokens: readonly Token[], view: View, isFar: boolean): readonly Label[] {
    let { labelled } = this;
    if (labelled?.layout !== layout || labelled.tokens !== tokens) {
      labelled = { layout, tokens, labels: this.makeLabels(layout, tokens), byBlock: new Map() };
      this.labelled = labelled;
    }
    const own = isFar ? labelled.labels : [];
    if (this.ride || this.shape) return own;
    const { byBlock } = labelled;
    const textOf = (position: number) => tileText(tokens[position]?.text ?? "");
    const parts = largeBlocks(layout, view, this.span).flatMap((block) => {
      const known = byBlock.get(block) ?? {
        heads: headLabels(layout, block, this.reading, textOf),
        experts: expertLabels(layout, block, this.chosen),
      };
      byBlock.set(block, known);
      // Before all experts are seen, those that were chosen stand in other places.
      const hasMosaic = known.experts.some(({ at }) => mosaicAt(this.span, view, at) > 0.5);
      return hasMosaic ? [...known.heads, ...known.experts] : known.heads;
    });
    return parts.length === 0 ? own : [...own, ...parts];
  }

  private makeLabels(layout: Layout, tokens: readonly Token[]): Label[] {
    const { reading } = this;
    if (!reading) return [];
    const lens = this.without?.lens ?? reading.lens;
    const textOf = (position: number) => tileText(tokens[position]?.text ?? "");
    return [
      ...wordLabels(layout, lens, reading.position, reading.token, tileText, this.texts),
      ...sourceLabels(
        layout,
        this.arcs.filter((arc) => this.weightOf(arc) > 0.5),
        textOf,
      ),
      ...(this.ride ? [] : insteadLabels(layout, this.lights, tileText, this.texts)),
    ];
  }

  /** The arcs that tell the most; at a stop of the ride also those of its head. */
  private chooseArcs(): FarArc[] {
    const { reading, lights } = this;
    if (!reading) return [];
    const arcs = chooseArcs(reading, lights);
    const [kind, block, head] = (this.ride?.part ?? "").split(".");
    if (kind !== "head") return arcs;
    const own = arcsOfHead(reading, lights, Number(block), Number(head));
    return [...own, ...arcs.filter((arc) => arc.block !== Number(block))];
  }

  private readLights(): FarLights {
    if (this.lit === "adds") return this.reading ? lightsByAdds(this.reading) : NO_LIGHTS;
    return this.effects ? lightsByWorth(this.effects) : NO_LIGHTS;
  }

  /** Arcs of other parts than the one at the stop fade, as do those of parts that are off. */
  private weightOf(arc: FarArc): number {
    const parts = arc.heads.map((head) => `head.${arc.block}.${head}`);
    const whole = [`attention.${arc.block}`, `token.${arc.position}`];
    if (
      (parts.length > 0 && parts.every((part) => this.isOff(part))) ||
      whole.some((part) => this.isOff(part))
    )
      return 0;
    const stop = this.ride?.part ?? null;
    return !this.ride || [...parts, ...whole].some((part) => part === stop) ? 1 : 0.15;
  }

  private lightOf(quad: FarQuad, sizes: (boundary: number, position: number) => number): QuadLight {
    if (quad.look === "column")
      return { ...UNLIT, light: sizes(quad.boundary, quad.position), known: 1, isOff: false };
    if (quad.look === "voice") return { ...UNLIT, light: this.chosenAt(quad.boundary), known: 1 };
    if (quad.part === null) return UNLIT;
    if (this.shape) return { ...UNLIT, light: this.shape.lightOf(quad.part), known: 1 };
    const own = this.lights.byPart.get(quad.part);
    const isOff =
      this.isOff(quad.part) || this.isOff(quad.part.replace(/^head\.(\d+)\.\d+$/, "attention.$1"));
    if (!own) return { ...UNLIT, isOff };
    return { light: own.light, known: 1, isClipped: own.isClipped, isOff };
  }

  private chosenAt(boundary: number): number {
    const lens = this.without?.lens ?? this.reading?.lens;
    return lens?.find((each) => each.boundary === boundary)?.chosen ?? 0;
  }

  /** The stream's size at a boundary, 0..1 on a logarithmic scale; of several tokens the largest. */
  private streamSizes(): (boundary: number, position: number) => number {
    const { reading } = this;
    if (!reading) return () => 0;
    const all = reading.stream.flatMap(({ rms }) => rms).filter((rms) => rms > 0);
    if (all.length === 0) return () => 0;
    const [low, high] = all.reduce(([a, b], each) => [Math.min(a, each), Math.max(b, each)], [Infinity, 0]);
    const span = Math.log(high / low) || 1;
    const step = tokensPerColumn(reading.position);
    const byBoundary = new Map(reading.stream.map(({ boundary, rms }) => [boundary, rms]));
    return (boundary, position) => {
      const rms = byBoundary.get(boundary)?.slice(position, position + step) ?? [];
      return rms.length === 0 ? 0 : Math.max(0, Math.log(Math.max(...rms) / low) / span);
    };
  }
}
