import { WebGLRenderer } from "three";
import { eyeOf, FIELD_OF_VIEW, project, rayAt } from "../layout/Camera";
import type { Cell } from "../layout/Cell";
import { findPlate } from "../layout/findPlate";
import { fitPoints } from "../layout/fitPoints";
import { sitesOf } from "../layout/inputsOf";
import { pointOfCell, shows } from "../layout/Plate";
import { pickCell } from "../layout/pickCell";
import { ridePoints } from "../layout/ridePoints";
import type { Vec3 } from "../layout/Vec3";
import type { Anatomy, Distribution, Site, Token } from "../protocol/schema.generated";
import { aimAt, NO_AIM, tellClick } from "./aimAt";
import { CameraRig } from "./CameraRig";
import { Controls } from "./Controls";
import { columnNames } from "./columnNames";
import { collectDrawables, NOTHING } from "./Drawables";
import { FarView } from "./FarView";
import { Fidelity } from "./Fidelity";
import { GlyphAtlas } from "./GlyphAtlas";
import { guarded } from "./guarded";
import { isSameInsets } from "./Insets";
import { writeLabels, writeNumbers } from "./Labeller";
import { type Light, LightPass } from "./LightPass";
import { Meshes } from "./Meshes";
import { MosaicView } from "./MosaicView";
import { nearnessAt } from "./nearBlocks";
import { operandCurves, operandDots } from "./operandLines";
import { PALETTES } from "./palette";
import { patternNames } from "./patternNames";
import { buildRack, tileIds } from "./Rack";
import { type RankedLine, readableLines } from "./readableLines";
import type { Scene, SceneOptions } from "./Scene";
import { Scheduler } from "./Scheduler";
import { buildSkyline, type SkylinePlace } from "./Skyline";
import { SteadyLevels } from "./SteadyLevels";
import { sceneValues } from "./sceneValues";
import { statsOf } from "./statsOf";
import { columnOf, tokenIndices } from "./tokenIndices";
import { ValueStore } from "./ValueStore";
import { Viewpoint } from "./Viewpoint";
import { FAR_ONLY, type NearSpan, nearDistance, nearSpan, wantedOf } from "./visiblePlates";
import type { Wanted } from "./Wanted";
import { WantedNotice } from "./WantedNotice";
import { World } from "./World";

const PIXEL_RATIO_MAX = 2;
/** The reason to draw for a picture that is saved: at twice the window's pixels, whatever the screen has. */
const PICTURE = "picture";
/** Tiles show their ids once their text is this large on the screen. */
const ID_PX = 30;
/** Reasons to draw that come many times a second while somebody moves the camera or the slider of light. */
const IN_MOTION = new Set(["camera", "scrub"]);

/** The scene behind `Scene`: owns the state, the camera and the parts; everything it draws is in `Meshes`. */
export function createGlassScene(canvas: HTMLCanvasElement, options: SceneOptions): Scene {
  const renderer = new WebGLRenderer({
    canvas,
    antialias: false,
    alpha: false,
    powerPreference: "high-performance",
  });
  renderer.autoClear = false;
  renderer.info.autoReset = false;
  let palette = PALETTES[options.theme];

  const rig = new CameraRig();
  const store = new ValueStore();
  const light = new LightPass();
  const far = new FarView(options.texts);
  const mosaics = new MosaicView();
  const atlas = new GlyphAtlas(() => relayout("fonts"));
  const meshes = new Meshes(palette, atlas);
  const scheduler = new Scheduler(draw);
  const redraw = (reason: string) => scheduler.redraw(reason);
  const fidelity = new Fidelity(() => redraw("rest"));
  const levels = new SteadyLevels();
  const wanted = new WantedNotice(
    () =>
      far.shape
        ? []
        : mosaics.wanted(wantedOf(drawables.plates, rig.view, positions > 0, levels), positions > 0),
    tellWanted,
  );
  const controls = new Controls(canvas, rig, {
    onMove: redraw,
    onPoint: point,
    onClick: click,
    onGrasp: (at) => rig.pivot(pickAt(at)?.at ?? (isFar() ? far.placeOn(rayAt(rig.view, at.x, at.y)) : null)),
    onFit: showWhole,
    onDoubleClick: flyTo,
  });
  const viewpoint = new Viewpoint(rig, redraw, options.onView);
  rig.reducedMotion = light.reducedMotion = far.reducedMotion = options.reducedMotion;

  let anatomy: Anatomy | null = null;
  let sites = new Map<string, Site>();
  let tokens: Token[] = [];
  let promptCount = 0;
  let positions = 0;
  let distribution: Distribution | null = null;
  const world = new World();
  let drawables = NOTHING;
  let fixedLines: RankedLine[] = [];
  let bars: SkylinePlace[] = [];
  /** The part of the far view that is pointed at. */
  let part: string | null = null;
  let span: NearSpan = FAR_ONLY;
  let hovered: Cell | null = null;
  let selected: Cell | null = null;
  let operands: Cell[] = [];
  let emphasized: ReadonlySet<string> = new Set<string>();
  /** The token whose column is lit; -1: none. */
  let token = -1;
  let arriving: Light["arriving"] = null;
  let texts: readonly string[] = [];
  /** Whether the selected cell was chosen by a click: it then stays under the pointer when panels open. */
  let clicked = false;
  const stale = { layout: true, parts: true };

  // --- building ------------------------------------------------------------------------------------

  function relayout(reason: string): void {
    stale.layout = true;
    redraw(reason);
  }

  function buildLayout(): void {
    if (!stale.layout) return;
    stale.layout = false;
    stale.parts = true;
    const before = world.layout;
    // A narrow window has another layout, so nothing that was moved or clicked in the last one counts.
    if (world.layout && world.isForeign(rig.width)) rig.moved = clicked = false;
    world.place(anatomy, tokens, rig.width, (text, face) => atlas.measure(text, face), options.texts);
    if (world.layout !== before) drawables = NOTHING;
    if (world.layout) rig.setLimits(world.layout.bounds);
    frame({ flies: true });
  }

  /** Brings the camera to where it shows all, or a stop of the ride, unless a person has chosen what to look at. */
  function frame({ flies }: { flies: boolean }): void {
    if (!world.layout) return;
    const stop = far.ride && ridePoints(world.layout, far.ride, far.reading?.position ?? 0, world.tiles);
    if (!stop && (rig.moved || clicked)) return;
    const pose = rig.poseFor(stop ?? fitPoints(world.layout, world.tiles));
    // Before anything is recorded there is nothing to follow with the eye, so the camera jumps.
    if (flies && positions > 0) rig.flyTo(pose);
    else rig.jumpTo(pose);
  }

  /** After panels came or went, or the window changed. */
  function reframe(reason: "insets" | "resize"): void {
    frame({ flies: reason === "insets" });
    if (rig.moved || clicked) {
      const place = placeOf(selected);
      const at = place && project(rig.goal, place);
      if (at) rig.reveal(at);
    }
    redraw(reason);
  }

  function buildParts(): void {
    span = world.layout && !far.ride ? nearSpan(world.layout, rig.view, rig.insets) : FAR_ONLY;
    mosaics.update(far.shape ? null : world.layout, rig.view, span);
    const next = world.layout ? collectDrawables(world.layout, rig.view, span, drawables) : NOTHING;
    if (next !== drawables || !world.layout) meshes.plates.setPlates(next.plates, next.points);
    if (next === drawables && !stale.parts) return;
    drawables = next;
    stale.parts = false;
    const { layout } = world;
    const rack =
      layout &&
      buildRack(tokens, world.tiles, promptCount, layout, palette, token, arriving, far.tokenLights, isFar());
    const skyline = layout && buildSkyline(far.distributionOf(distribution), layout, palette, atlas);
    bars = skyline?.bars ?? [];
    meshes.arcs.setCurves(layout && isFar() ? far.curves(layout, world.tiles) : []);
    meshes.threads.setCurves([...next.curves, ...(rack?.curves ?? []), ...(skyline?.curves ?? [])]);
    meshes.slabs.setSlabs([...(rack?.slabs ?? []), ...(skyline?.slabs ?? [])]);
    fixedLines = [...(rack?.lines ?? []), ...(skyline?.lines ?? [])];
    markCells();
  }

  function markCells(): void {
    meshes.plates.mark("uHover", hovered);
    meshes.mosaics.hover(hovered);
    meshes.plates.mark("uSelect", selected);
    meshes.setToken(token);
    meshes.overlay.setCurves(operandCurves(placeOf(selected), operandPlaces()));
  }

  function placeOf(cell: Cell | null): Vec3 | null {
    if (!cell) return null;
    const drawn = drawables.plates.find((plate) => shows(plate, cell));
    if (drawn) return pointOfCell(drawn, cell);
    const plate = world.layout ? findPlate(world.layout, cell) : undefined;
    return mosaics.placeOf(cell) ?? (plate ? pointOfCell(plate, cell) : null);
  }

  /** Whether no matrix is near: the far view alone is drawn. */
  const isFar = () => drawables.plates.length === 0;
  function onScreen(place: Vec3 | null): { x: number; y: number } | null {
    const at = place && project(rig.view, place);
    return at && { x: at.x, y: at.y };
  }
  const operandPlaces = () => operands.map(placeOf).filter((each) => each !== null);

  /** A tensor with two addresses is drawn, stored and marked under one. */
  const nameOf = (address: string) => world.layout?.aliases.get(address) ?? address;
  const drawn = (cell: Cell): Cell => ({ ...cell, address: nameOf(cell.address) });

  // --- drawing -------------------------------------------------------------------------------------

  function draw(now: number, reason: string): string | null {
    if (rig.width < 2 || rig.height < 2) return null;
    guarded(buildLayout);
    const flying = rig.advance(now);
    const lit = light.advance(now);
    const fading = far.advance(now);
    const share = fidelity.choose(now, flying || light.isPlaying || IN_MOTION.has(reason));
    const ratio = reason === PICTURE ? 2 : Math.min(PIXEL_RATIO_MAX, window.devicePixelRatio) * share;
    meshes.setPixels(renderer, rig.width, rig.height, ratio);
    if (lit.arriving || arriving) stale.parts = true;
    arriving = lit.arriving;
    rig.apply();
    const eye = eyeOf(rig.pose);
    guarded(buildParts);
    guarded(() => {
      mosaics.write(meshes, world.layout, store, span, far.reading);
      store.upload(renderer);
      meshes.plates.write(store, rig.view, (points) => nearnessAt(span, rig.view, points));
      far.write(meshes.far, world.layout, span, rig.view);
    });
    guarded(writeText);
    meshes.setLight(lit.pass, lit.newest);
    meshes.setEye(eye);
    const { offset } = rig.view;
    meshes.backdrop.setFocus(0.5 + offset.x / rig.width, 0.5 - offset.y / rig.height);
    renderer.info.reset();
    renderer.render(meshes.graph, rig.camera);
    if (world.layout) wanted.update(now);
    viewpoint.drawn(flying);
    return flying ? "flight" : lit.running ? "light" : fading || far.isFading ? "reading" : null;
  }

  function writeText(): void {
    const { view } = rig;
    const lines = readableLines(fixedLines, view, atlas);
    if (world.layout) {
      const tilePx =
        (world.layout.tiles.size * view.height) / (2 * Math.tan(FIELD_OF_VIEW / 2) * view.pose.distance);
      if (tilePx > ID_PX) lines.push(...tileIds(tokens, world.tiles, palette));
      lines.push(...writeNumbers(drawables.plates, view, store, palette));
      const labels = [
        ...drawables.labels,
        ...columnNames(world.layout, tokens, view, rig.insets.top),
        ...patternNames(drawables.plates, tokens, view),
      ];
      labels.push(...far.labels(world.layout, tokens, view, isFar()));
      lines.push(...writeLabels(labels, view, atlas, palette, emphasized, rig.insets));
      lines.push(...operandDots(placeOf(selected), operandPlaces(), palette));
    }
    texts = lines.map((line) => line.text);
    meshes.text.setLines(lines, renderer.getPixelRatio());
  }

  function tellWanted(next: Wanted[]): void {
    store.want(next);
    options.onWanted(next);
  }

  /** Where frames are slow, a new column appears without a glow: this machine may also be running the model. */
  function freshen(column: number): void {
    if (!fidelity.isSlow) light.freshen(column);
  }

  // --- pointing ------------------------------------------------------------------------------------

  function pickAt(at: { x: number; y: number }) {
    return pickCell(rayAt(rig.view, at.x, at.y), drawables.plates);
  }

  /** The cell at this pixel; null if it belongs to a token that is not recorded yet. Opaque plates give any cell. */
  function cellAt(at: { x: number; y: number }): Cell | null {
    const hit = pickAt(at);
    if (hit && (hit.plate.refused || far.shape)) return hit.cell;
    const cell = hit ? hit.cell : mosaics.cellAt(rayAt(rig.view, at.x, at.y));
    const isRead = cell && tokenIndices(cell, sites.get(cell.address)).every((index) => index < positions);
    return isRead ? cell : null;
  }

  const aim = (at: { x: number; y: number }) => aimAt(rayAt(rig.view, at.x, at.y), world.tiles, bars, far);

  function point(at: { x: number; y: number } | null): void {
    const cell = at && cellAt(at);
    const aimed = at && !cell ? aim(at) : NO_AIM;
    showHover(cell, aimed.tile);
    canvas.style.cursor = cell ? "crosshair" : aimed.part || aimed.bar !== null ? "pointer" : "";
    const place = at ?? { x: 0, y: 0 };
    options.onHover(cell, place);
    if (meshes.far.hover(aimed.quad)) redraw("hover");
    if (aimed.part || part) options.onPart(aimed.part, place);
    part = aimed.part;
  }

  function click(at: { x: number; y: number }): void {
    canvas.focus({ preventScroll: true });
    const cell = cellAt(at);
    const aimed = cell ? NO_AIM : aim(at);
    if (tellClick(aimed, options)) return;
    clicked = cell !== null;
    options.onSelect(cell);
  }

  function showHover(cell: Cell | null, tile = -1): void {
    const next = cell && drawn(cell);
    const nextToken = next ? columnOf(next, sites.get(next.address)) : tile;
    if (next?.address === hovered?.address && `${next?.index}` === `${hovered?.index}` && nextToken === token)
      return;
    hovered = next;
    if (nextToken !== token) stale.parts = true;
    token = nextToken;
    markCells();
    redraw("hover");
  }

  function tellFar(next: Parameters<FarView["tell"]>[0]): void {
    far.tell(next);
    stale.parts = true;
    redraw("reading");
  }

  // --- camera --------------------------------------------------------------------------------------

  function showWhole(): void {
    rig.remember();
    rig.moved = clicked = false;
    frame({ flies: true });
    redraw("fit");
  }

  function focus(addresses: string[], cell?: Cell): void {
    if (!world.layout) return;
    if (addresses.length === 0) showWhole();
    const names = new Set(addresses.map(nameOf));
    const all = [...world.layout.plates, ...world.layout.blocks.flatMap((block) => block.detail().plates)];
    const own = all.filter((plate) => names.has(plate.name));
    // One matrix of a block is shown as such; of all parts of a block the mosaics tell.
    const isMosaic = world.layout.blocks.some(({ far }) => far.mosaics.some(({ name }) => names.has(name)));
    const isOne = names.size === 1 && !isMosaic && own.every(({ block }) => block !== null);
    viewpoint.lookAt(own, {
      most: isOne ? nearDistance(span, rig.view) : Infinity,
      cell: cell && drawn(cell),
    });
  }

  /** To what was double-clicked; where nothing is, to the whole model. */
  function flyTo(at: { x: number; y: number }): void {
    const hit = pickAt(at);
    if (hit) viewpoint.lookAt([hit.plate]);
    else if (!world.layout || !viewpoint.lookAtBlock(world.layout, at)) showWhole();
  }

  function resize(): void {
    const { clientWidth, clientHeight } = canvas;
    if (clientWidth === 0 || clientHeight === 0) return;
    rig.resize(clientWidth, clientHeight);
    if (world.isForeign(clientWidth)) relayout("resize");
    else reframe("resize");
  }

  const restored = () => {
    store.sendAgain();
    redraw("context restored");
  };
  canvas.addEventListener("webglcontextrestored", restored);
  resize();
  return {
    setAnatomy(next, shape = null) {
      anatomy = next;
      world.shape = far.shape = shape;
      sites = new Map((next ? sitesOf(next) : []).map((site) => [site.address, site]));
      store.clear();
      tokens = [];
      positions = 0;
      distribution = null;
      far.tell({ reading: null, effects: null, without: null, ride: null });
      hovered = selected = null;
      operands = [];
      token = -1;
      clicked = false;
      rig.forget();
      wanted.forget();
      relayout("anatomy");
    },
    fillAnatomy(next) {
      anatomy = next;
      sites = new Map(sitesOf(next).map((site) => [site.address, site]));
      relayout("checked");
    },
    setTokens(next, prompt, recorded, kept) {
      const grew = kept >= tokens.length;
      if (!grew && kept > 0) store.keepRows(kept, (name) => sites.has(name));
      else if (!grew) store.clear((name) => !sites.has(name));
      // The values that stay are the same in the recording that is shown now.
      const known = Math.max(recorded, Math.min(kept, positions));
      if (known !== positions) wanted.forget();
      if (grew && known > positions && positions > 0) freshen(known - 1);
      if (grew && next.length === tokens.length + 1 && next.length > prompt && !fidelity.isSlow)
        light.arrive(next.length - 1);
      atlas.request(next.map((each) => each.text).join(""));
      tokens = next;
      promptCount = prompt;
      positions = known;
      relayout("tokens");
    },
    setDistribution(next) {
      distribution = next;
      stale.parts = true;
      redraw("distribution");
    },
    setReading: (reading) => tellFar({ reading }),
    setEffects: (effects) => tellFar({ effects }),
    setWithout: (without) => tellFar({ without }),
    setLit: (lit) => tellFar({ lit }),
    setRide(ride) {
      const isNew = (ride === null) !== (far.ride === null);
      tellFar({ ride });
      if (isNew) drawables = NOTHING;
      if (ride) frame({ flies: true });
      else if (isNew) showWhole();
    },
    select(cell) {
      selected = cell && drawn(cell);
      if (!cell) {
        operands = [];
        clicked = false;
      }
      markCells();
      redraw("selection");
    },
    hover: (cell) => showHover(cell),
    highlight(addresses) {
      emphasized = new Set(addresses.map(nameOf));
      meshes.emphasize(emphasized);
      redraw("highlight");
    },
    operands(cells) {
      operands = cells.map(drawn);
      markCells();
      redraw("operands");
    },
    fit: showWhole,
    ...viewpoint.commands,
    focus,
    play(durationSecs) {
      light.play(durationSecs);
      redraw("light");
    },
    scrub(fraction) {
      light.scrub(fraction);
      redraw("scrub");
    },
    setTheme(theme) {
      palette = PALETTES[theme];
      meshes.setPalette(palette);
      stale.parts = true;
      redraw("theme");
    },
    setReducedMotion(reduced) {
      rig.reducedMotion = light.reducedMotion = far.reducedMotion = reduced;
    },
    setInsets(insets) {
      if (isSameInsets(rig.insets, insets)) return;
      rig.insets = insets;
      reframe("insets");
    },
    placeOf: (cell) => onScreen(placeOf(drawn(cell))),
    placeOfPart: (name) => onScreen(far.middleOf(name)),
    texts: () => texts,
    ...sceneValues({ store, siteOf: (address) => sites.get(address), nameOf, redraw, freshen }),
    stats: () =>
      statsOf(renderer, store, atlas, scheduler, {
        labels: texts.length,
        plates: drawables.plates.length,
        mosaics: mosaics.count,
      }),
    takePicture() {
      draw(performance.now(), PICTURE);
      redraw("rest");
      return new Promise((resolve) => canvas.toBlob(resolve));
    },
    resize,
    dispose() {
      canvas.removeEventListener("webglcontextrestored", restored);
      for (const part of [scheduler, controls, viewpoint, fidelity, wanted, meshes, atlas, store])
        part.dispose();
      renderer.dispose();
    },
  };
}
