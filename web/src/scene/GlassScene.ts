import { Vector2, WebGLRenderer } from "three";
import { eyeOf, FIELD_OF_VIEW, project, rayAt } from "../layout/Camera";
import type { Cell } from "../layout/Cell";
import { fitPoints } from "../layout/fitPoints";
import { sitesOf } from "../layout/inputsOf";
import { columnsFor } from "../layout/layoutModel";
import { type Plate, pointAt, pointOfCell, shows } from "../layout/Plate";
import { pickCell } from "../layout/pickCell";
import { pickTile } from "../layout/pickTile";
import type { Vec3 } from "../layout/Vec3";
import type { Anatomy, Distribution, Site, Token } from "../protocol/schema.generated";
import { CameraRig } from "./CameraRig";
import { Controls } from "./Controls";
import { columnNames } from "./columnNames";
import { collectDrawables, NOTHING } from "./Drawables";
import { Fidelity } from "./Fidelity";
import { GlyphAtlas } from "./GlyphAtlas";
import { guarded } from "./guarded";
import { writeLabels, writeNumbers } from "./Labeller";
import { type Light, LightPass } from "./LightPass";
import { Meshes } from "./Meshes";
import { operandCurves, operandDots } from "./operandLines";
import { PALETTES } from "./palette";
import { buildRack, tileIds } from "./Rack";
import type { Scene, SceneOptions } from "./Scene";
import { Scheduler } from "./Scheduler";
import { buildSkyline } from "./Skyline";
import type { TextLine } from "./TextLine";
import { columnOf, tokenIndices } from "./tokenIndices";
import { ValueStore } from "./ValueStore";
import { wantedOf } from "./visiblePlates";
import type { Wanted } from "./Wanted";
import { WantedNotice } from "./WantedNotice";
import { World } from "./World";

const PIXEL_RATIO_MAX = 2;
/** Tiles show their ids once their text is this large on the screen. */
const ID_PX = 30;
/** Reasons to draw that come many times a second while somebody moves the camera or the slider of light. */
const IN_MOTION = new Set(["camera", "scrub"]);
/** `focus` leaves this much around what it shows. */
const FOCUS_ROOM = 1.35;

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
  const atlas = new GlyphAtlas(() => relayout("fonts"));
  const meshes = new Meshes(palette, atlas);
  const scheduler = new Scheduler(draw);
  const redraw = (reason: string) => scheduler.redraw(reason);
  const fidelity = new Fidelity(() => redraw("rest"));
  const wanted = new WantedNotice(() => wantedOf(drawables.plates, rig.view, positions > 0), tellWanted);
  const controls = new Controls(canvas, rig, {
    onMove: redraw,
    onPoint: point,
    onClick: click,
    onGrasp: grasp,
    onFit: showWhole,
  });
  rig.reducedMotion = light.reducedMotion = options.reducedMotion;

  let anatomy: Anatomy | null = null;
  let sites = new Map<string, Site>();
  let tokens: Token[] = [];
  let promptCount = 0;
  let positions = 0;
  let distribution: Distribution | null = null;
  const world = new World();
  let drawables = NOTHING;
  let fixedLines: TextLine[] = [];
  let hovered: Cell | null = null;
  let selected: Cell | null = null;
  let operands: Cell[] = [];
  let emphasized: ReadonlySet<string> = new Set<string>();
  /** The token whose column is lit; -1: none. */
  let token = -1;
  let arriving: Light["arriving"] = null;
  let lineCount = 0;
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
    if (world.isForeign(rig.width)) rig.moved = clicked = false;
    world.place(anatomy, tokens, rig.width, (text) => atlas.measure(text));
    if (world.layout !== before) drawables = NOTHING;
    if (world.layout) rig.setLimits(world.layout.bounds);
    frame({ flies: true });
  }

  /** Brings the camera to where it shows all, unless a person has chosen what to look at. */
  function frame({ flies }: { flies: boolean }): void {
    if (!world.layout || rig.moved || clicked) return;
    const pose = rig.poseFor(fitPoints(world.layout, world.tiles));
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
    const next = world.layout ? collectDrawables(world.layout, rig.view, drawables) : NOTHING;
    if (next !== drawables || !world.layout) meshes.plates.setPlates(next.plates);
    if (next === drawables && !stale.parts) return;
    drawables = next;
    stale.parts = false;
    const rack = world.layout
      ? buildRack(tokens, world.tiles, promptCount, world.layout, palette, token, arriving)
      : null;
    const skyline = world.layout ? buildSkyline(distribution, world.layout, palette, atlas) : null;
    meshes.threads.setCurves([...next.curves, ...(rack?.curves ?? []), ...(skyline?.curves ?? [])]);
    meshes.slabs.setSlabs([...(rack?.slabs ?? []), ...(skyline?.slabs ?? [])]);
    fixedLines = [...(rack?.lines ?? []), ...(skyline?.lines ?? [])];
    markCells();
  }

  function markCells(): void {
    meshes.plates.mark("uHover", hovered);
    meshes.plates.mark("uSelect", selected);
    meshes.setToken(token);
    meshes.overlay.setCurves(operandCurves(placeOf(selected), operandPlaces()));
  }

  function plateOf(cell: Cell): Plate | undefined {
    return drawables.plates.find((plate) => shows(plate, cell));
  }

  function placeOf(cell: Cell | null): Vec3 | null {
    const plate = cell && plateOf(cell);
    return plate ? pointOfCell(plate, cell) : null;
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
    setPixels(fidelity.choose(now, flying || light.isPlaying || IN_MOTION.has(reason)));
    if (lit.arriving || arriving) stale.parts = true;
    arriving = lit.arriving;
    rig.apply();
    const eye = eyeOf(rig.pose);
    guarded(buildParts);
    guarded(() => {
      store.upload(renderer);
      meshes.plates.write(store, rig.view);
    });
    guarded(writeText);
    meshes.setLight(lit.pass, lit.newest);
    meshes.setEye(eye);
    const { offset } = rig.view;
    meshes.backdrop.setFocus(0.5 + offset.x / rig.width, 0.5 - offset.y / rig.height);
    renderer.info.reset();
    renderer.render(meshes.graph, rig.camera);
    if (world.layout) wanted.update(now);
    return flying ? "flight" : lit.running ? "light" : null;
  }

  function writeText(): void {
    const { view } = rig;
    const lines = [...fixedLines];
    if (world.layout) {
      const tilePx =
        (world.layout.tiles.size * view.height) / (2 * Math.tan(FIELD_OF_VIEW / 2) * view.pose.distance);
      if (tilePx > ID_PX) lines.push(...tileIds(tokens, world.tiles, palette));
      lines.push(...writeNumbers(drawables.plates, view, store, palette));
      const labels = [...drawables.labels, ...columnNames(world.layout, tokens, view, rig.insets.top)];
      lines.push(...writeLabels(labels, view, atlas, palette, emphasized));
      lines.push(...operandDots(placeOf(selected), operandPlaces(), palette));
    }
    lineCount = lines.length;
    meshes.text.setLines(lines, renderer.getPixelRatio());
  }

  function tellWanted(next: Wanted[]): void {
    store.trim(new Set(next.map((each) => each.name)));
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
    if (!hit || hit.plate.refused) return hit?.cell ?? null;
    const read = tokenIndices(hit.cell, sites.get(hit.cell.address)).every((index) => index < positions);
    return read ? hit.cell : null;
  }

  function grasp(at: { x: number; y: number }): void {
    const hit = pickAt(at);
    if (hit) rig.pivot(hit.at);
  }

  function point(at: { x: number; y: number } | null): void {
    const cell = at && cellAt(at);
    showHover(cell, at && !cell ? pickTile(rayAt(rig.view, at.x, at.y), world.tiles) : -1);
    canvas.style.cursor = cell || token >= 0 ? "crosshair" : "";
    options.onHover(cell, at ?? { x: 0, y: 0 });
  }

  function click(at: { x: number; y: number }): void {
    canvas.focus({ preventScroll: true });
    const cell = cellAt(at);
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

  // --- camera --------------------------------------------------------------------------------------

  function showWhole(): void {
    rig.moved = clicked = false;
    frame({ flies: true });
    redraw("fit");
  }

  function focus(addresses: string[]): void {
    if (!world.layout) return;
    if (addresses.length === 0) {
      showWhole();
      return;
    }
    const names = new Set(addresses.map(nameOf));
    const all = [...world.layout.plates, ...world.layout.blocks.flatMap((block) => block.detail().plates)];
    const own = all.filter((plate) => names.has(plate.name));
    if (own.length === 0) return;
    const corners = own.flatMap((plate) => [0, 1].flatMap((u) => [0, 1].map((v) => pointAt(plate, u, v))));
    const pose = rig.poseFor(corners, { yaw: rig.pose.yaw, pitch: rig.pose.pitch });
    rig.moved = true;
    rig.flyTo({ ...pose, distance: pose.distance * FOCUS_ROOM });
    redraw("focus");
  }

  function resize(): void {
    const { clientWidth, clientHeight } = canvas;
    if (clientWidth === 0 || clientHeight === 0) return;
    rig.resize(clientWidth, clientHeight);
    if (world.isForeign(clientWidth)) relayout("resize");
    else reframe("resize");
  }

  /** Gives the canvas its size at that share of the device's pixels. */
  function setPixels(share: number): void {
    const ratio = Math.min(PIXEL_RATIO_MAX, window.devicePixelRatio) * share;
    const size = renderer.getSize(new Vector2());
    if (ratio === renderer.getPixelRatio() && size.x === rig.width && size.y === rig.height) return;
    renderer.setPixelRatio(ratio);
    renderer.setSize(rig.width, rig.height, false);
    const buffer = renderer.getDrawingBufferSize(size);
    meshes.setViewport(rig.width, rig.height, buffer.x, buffer.y);
  }

  const restored = () => redraw("context restored");
  canvas.addEventListener("webglcontextrestored", restored);
  resize();
  return {
    setAnatomy(next) {
      anatomy = next;
      sites = new Map((next ? sitesOf(next) : []).map((site) => [site.address, site]));
      store.clear();
      tokens = [];
      positions = 0;
      distribution = null;
      hovered = selected = null;
      operands = [];
      token = -1;
      rig.moved = clicked = false;
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
      if (!grew && kept > 0) store.keepRows(kept, columnsFor(next.length), (name) => sites.has(name));
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
    setMatrix(matrix) {
      store.set({ ...matrix, address: nameOf(matrix.address) }, world.layout?.columns ?? 0);
      redraw("values");
    },
    appendRows(address, start, stop, values) {
      const site = sites.get(address);
      if (!site) return;
      const sizes = site.shape.map((size) => size ?? 0);
      store.append(nameOf(address), site.axes, sizes, start, stop, values, world.layout?.columns ?? 0);
      freshen(stop - 1);
      redraw("rows");
    },
    setDistribution(next) {
      distribution = next;
      stale.parts = true;
      redraw("distribution");
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
      rig.reducedMotion = light.reducedMotion = reduced;
    },
    setInsets(insets) {
      const before = rig.insets;
      if ((["left", "right", "top", "bottom"] as const).every((side) => before[side] === insets[side]))
        return;
      rig.insets = insets;
      reframe("insets");
    },
    placeOf(cell) {
      const place = placeOf(drawn(cell));
      const at = place && project(rig.view, place);
      return at && { x: at.x, y: at.y };
    },
    legend(address) {
      const stored = store.get(nameOf(address));
      return stored ? { scale: sites.get(address)?.scale ?? "diverging", limit: stored.limit } : null;
    },
    stats: () => ({
      frames: scheduler.frames,
      drawCalls: renderer.info.render.calls,
      triangles: renderer.info.render.triangles,
      textureBytes: store.bytes + atlas.bytes,
      tensors: store.size,
      labels: lineCount,
      lastReason: scheduler.lastReason,
    }),
    resize,
    dispose() {
      canvas.removeEventListener("webglcontextrestored", restored);
      for (const part of [scheduler, controls, fidelity, wanted, meshes, atlas, store]) part.dispose();
      renderer.dispose();
    },
  };
}
