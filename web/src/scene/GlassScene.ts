import { Scene as Graph, Vector2, WebGLRenderer } from "three";
import { axesOf, eyeOf, rayAt } from "../layout/Camera";
import type { Cell } from "../layout/Cell";
import { sitesOf } from "../layout/inputsOf";
import type { Label, Layout, TilePlace } from "../layout/Layout";
import { layoutModel, tilesOf } from "../layout/layoutModel";
import type { Matrix } from "../layout/Matrix";
import { type Plate, pointAt, pointOfCell, shows } from "../layout/Plate";
import { pickCell } from "../layout/pickCell";
import { add, length, scale, subtract, type Vec3 } from "../layout/Vec3";
import type { Anatomy, Distribution, Site, Token } from "../protocol/schema.generated";
import { Backdrop } from "./Backdrop";
import { CameraRig } from "./CameraRig";
import { Controls } from "./Controls";
import { type Curve, CurveMesh } from "./CurveMesh";
import { GlyphAtlas } from "./GlyphAtlas";
import { writeLabels, writeNumbers } from "./Labeller";
import { LightPass } from "./LightPass";
import { PlateMesh } from "./PlateMesh";
import { PALETTES, type Palette } from "./palette";
import { buildRack, tileIds } from "./Rack";
import type { Scene, SceneOptions, Theme, Wanted } from "./Scene";
import { Scheduler } from "./Scheduler";
import { buildSkyline } from "./Skyline";
import { SlabMesh } from "./SlabMesh";
import { type TextLine, TextMesh } from "./TextMesh";
import { tileText } from "./tileText";
import { ValueStore } from "./ValueStore";
import { detailedBlocks, wantedOf } from "./visiblePlates";

const PIXEL_RATIO_MAX = 2;
/** The set of wanted tensors is told at most this often while the camera moves. */
const WANTED_MS = 120;
const NO_TOKENS: Token[] = [];

export function createGlassScene(canvas: HTMLCanvasElement, options: SceneOptions): Scene {
  const renderer = new WebGLRenderer({
    canvas,
    antialias: false,
    alpha: false,
    powerPreference: "high-performance",
  });
  renderer.autoClear = false;
  renderer.info.autoReset = false;
  const graph = new Graph();
  graph.matrixWorldAutoUpdate = false;
  let palette: Palette = PALETTES[options.theme];

  const rig = new CameraRig();
  const store = new ValueStore();
  const light = new LightPass();
  rig.reducedMotion = light.reducedMotion = options.reducedMotion;
  const atlas = new GlyphAtlas(() => relayout("fonts"));
  const backdrop = new Backdrop(palette);
  const threads = new CurveMesh(palette, 10);
  const plateMesh = new PlateMesh(palette);
  const slabMesh = new SlabMesh(palette);
  const overlay = new CurveMesh(palette, 50);
  const textMesh = new TextMesh(atlas, palette);
  graph.add(backdrop.mesh, threads.mesh, plateMesh.mesh, slabMesh.mesh, overlay.mesh, textMesh.group);
  for (const child of graph.children) child.matrixAutoUpdate = false;

  let anatomy: Anatomy | null = null;
  let sites = new Map<string, Site>();
  let tokens = NO_TOKENS;
  let promptCount = 0;
  let positions = 0;
  let distribution: Distribution | null = null;
  let layout: Layout | null = null;
  let places: TilePlace[] = [];
  let plates: Plate[] = [];
  let labels: Label[] = [];
  let detailKey = "";
  let worldLines: TextLine[] = [];
  let hovered: Cell | null = null;
  let selected: Cell | null = null;
  let operandCells: Cell[] = [];
  let emphasized = new Set<string>();
  let token = -1;
  let lastWanted = "";
  let lastWantedAt = 0;
  let wantedTimer = 0;
  let labelCount = 0;
  const dirty = { layout: true, parts: true, plates: true };
  let disposed = false;

  const scheduler = new Scheduler(draw);
  const redraw = (reason: string) => scheduler.redraw(reason);
  const controls = new Controls(canvas, rig, {
    onMove: redraw,
    onPoint: point,
    onClick: click,
    onGrasp: grasp,
    onFit: fit,
  });

  // --- building ------------------------------------------------------------------------------------

  function relayout(reason: string): void {
    dirty.layout = true;
    redraw(reason);
  }

  function buildLayout(): void {
    dirty.layout = false;
    dirty.parts = true;
    detailKey = "";
    if (!anatomy) {
      layout = null;
      return;
    }
    const ems = tokens.map((each) => atlas.measure(tileText(each.text)));
    layout = layoutModel(anatomy, tokens.length, { free: rig.free, ems });
    places = tilesOf(layout, ems);
    rig.setLimits(layout.bounds);
    if (!rig.moved) rig.jumpTo(rig.poseFor(fitPoints()));
  }

  function fitPoints(): Vec3[] {
    if (!layout) return [[0, 0, 0]];
    const { min, max } = layout.bounds;
    const points: Vec3[] = [
      [-layout.tiles.width / 2, max[1], 0],
      [layout.tiles.width / 2, max[1], 0],
      [-layout.skyline.width / 2, min[1], 0],
      [layout.skyline.width / 2, min[1], 0],
    ];
    for (const block of layout.blocks) {
      points.push(block.bounds.min, [block.bounds.max[0], block.bounds.min[1], block.bounds.min[2]]);
    }
    const label = layout.blocks[0]?.label;
    if (label) points.push(add(label.at, [-layout.tiles.size * 3.4, 0, 0]));
    return points;
  }

  /** Collects the plates and labels to draw: whole blocks where they are large enough, else their stream. */
  function buildPlates(): void {
    if (!layout) {
      plates = [];
      plateMesh.setPlates(plates);
      threads.setCurves([]);
      return;
    }
    const detailed = new Set(detailedBlocks(layout, rig.view));
    const key = [...detailed].map((block) => block.index).join();
    if (key === detailKey && !dirty.parts) return;
    detailKey = key;
    plates = [...layout.plates];
    labels = [...layout.labels];
    const curves: Curve[] = [];
    for (const block of layout.blocks) {
      labels.push(block.label);
      if (!detailed.has(block)) {
        plates.push(...block.far);
        continue;
      }
      const detail = block.detail();
      plates.push(...detail.plates);
      labels.push(...detail.labels);
      for (const edge of detail.edges) {
        curves.push({
          points: edge.points,
          order: edge.order,
          widthPx: 1,
          strength: edge.kind === "shared" ? 0.2 : 0.3,
          token: -1,
          selected: false,
        });
      }
    }
    plateMesh.setPlates(plates);
    dirty.plates = true;
    dirty.parts = true;
    buildParts(curves);
  }

  function buildParts(curves: Curve[]): void {
    dirty.parts = false;
    if (!layout) return;
    const rack = buildRack(tokens, places, promptCount, layout, palette, token);
    const skyline = buildSkyline(distribution, layout, palette, atlas);
    threads.setCurves([...curves, ...rack.curves, ...skyline.curves]);
    slabMesh.setSlabs([...rack.slabs, ...skyline.slabs]);
    worldLines = [...rack.lines, ...skyline.lines];
    markCells();
  }

  function markCells(): void {
    plateMesh.mark("uHover", hovered);
    plateMesh.mark("uSelect", selected);
    plateMesh.uniform<number>("uToken").value = token;
    threads.uniform("uToken").value = token;
    overlay.setCurves(operandCurves());
  }

  function operandCurves(): Curve[] {
    const to = selected && placeOf(selected);
    if (!to) return [];
    return operandCells.flatMap((cell) => {
      const from = placeOf(cell);
      if (!from) return [];
      const reach = length(subtract(to, from)) * 0.3;
      const points: Curve["points"] = [from, add(from, [0, 0, reach]), add(to, [0, 0, reach]), to];
      return [{ points, order: [0, 0] as const, widthPx: 1.3, strength: 0.75, token: -1, selected: true }];
    });
  }

  function placeOf(cell: Cell): Vec3 | null {
    const plate = plateOf(cell);
    return plate ? pointOfCell(plate, cell) : null;
  }

  function plateOf(cell: Cell): Plate | undefined {
    return plates.find((plate) => shows(plate, cell));
  }

  const canonical = (address: string) => layout?.aliases.get(address) ?? address;
  const canonicalCell = (cell: Cell | null) => cell && { ...cell, address: canonical(cell.address) };

  // --- drawing -------------------------------------------------------------------------------------

  function draw(now: number): string | null {
    if (disposed || rig.width < 2 || rig.height < 2) return null;
    guarded(() => {
      if (dirty.layout) buildLayout();
    });
    const flying = rig.advance(now);
    const pass = light.advance(now);
    rig.apply();
    guarded(buildPlates);
    const eye = eyeOf(rig.pose);
    const { back } = axesOf(rig.pose);
    guarded(() => {
      store.upload(renderer);
      plateMesh.write(store, eye, back);
    });
    for (const mesh of [threads, overlay, slabMesh]) mesh.uniform("uPass").value = pass.pass;
    plateMesh.uniform<number>("uPass").value = pass.pass;
    plateMesh.uniform<Vector2>("uNewest").value.set(...pass.newest);
    slabMesh.setEye(eye);
    guarded(writeText);
    const offset = rig.view.offset;
    backdrop.setFocus(0.5 + offset.x / rig.width, 0.5 - offset.y / rig.height);
    renderer.info.reset();
    renderer.render(graph, rig.camera);
    tellWanted(now);
    return flying ? "flight" : pass.running ? "light" : null;
  }

  /** One part's failure must not take the picture with it. */
  function guarded(part: () => void): void {
    try {
      part();
    } catch (error) {
      console.error("a part of the scene could not be drawn", error);
    }
  }

  function writeText(): void {
    const view = rig.view;
    const near: TextLine[] = [];
    if (layout) {
      const tilePx = (layout.tiles.size * view.height) / (2 * Math.tan(0.2094) * view.pose.distance);
      if (tilePx > 30 && places.length < 400) near.push(...tileIds(tokens, places, palette));
      near.push(...writeNumbers(plates, view, (cell) => store.valueAt(cell), palette));
      near.push(...writeLabels(labels, view, atlas, palette, emphasized));
    }
    const lines = [...worldLines, ...near];
    labelCount = lines.length;
    textMesh.setLines(lines, renderer.getPixelRatio());
  }

  function tellWanted(now: number): void {
    if (!layout) return;
    clearTimeout(wantedTimer);
    const wait = WANTED_MS - (now - lastWantedAt);
    if (wait > 0) {
      wantedTimer = window.setTimeout(() => tellWanted(performance.now()), wait);
      return;
    }
    lastWantedAt = now;
    const wanted: Wanted[] = wantedOf(plates, rig.view, positions > 0);
    const key = wanted.map((each) => `${each.name}@${each.level}`).join();
    if (key === lastWanted) return;
    lastWanted = key;
    options.onWanted(wanted);
  }

  // --- pointing ------------------------------------------------------------------------------------

  function pickAt(at: { x: number; y: number }) {
    return pickCell(rayAt(rig.view, at.x, at.y), plates);
  }

  function grasp(at: { x: number; y: number }): void {
    const hit = pickAt(at);
    if (hit) rig.pivot(hit.at);
  }

  function point(at: { x: number; y: number } | null): void {
    const cell = at ? (pickAt(at)?.cell ?? null) : null;
    showHover(cell ?? null, at && !cell ? tileAt(at) : -1);
    canvas.style.cursor = cell || token >= 0 ? "crosshair" : "";
    options.onHover(cell, at ?? { x: 0, y: 0 });
  }

  function click(at: { x: number; y: number }): void {
    const cell = pickAt(at)?.cell ?? null;
    canvas.focus({ preventScroll: true });
    options.onSelect(cell);
  }

  function tileAt(at: { x: number; y: number }): number {
    const ray = rayAt(rig.view, at.x, at.y);
    const t = -ray.origin[2] / ray.direction[2];
    const [x, y] = add(ray.origin, scale(ray.direction, t));
    return places.findIndex(
      ({ corner, width, height }) =>
        x >= corner[0] && x <= corner[0] + width && y <= corner[1] && y >= corner[1] - height,
    );
  }

  function showHover(cell: Cell | null, tile = -1): void {
    const next = canonicalCell(cell);
    if (next?.address === hovered?.address && `${next?.index}` === `${hovered?.index}` && tile === token)
      return;
    hovered = next;
    const nextToken = next ? tokenOf(next) : tile;
    if (nextToken !== token) dirty.parts = true;
    token = nextToken;
    markCells();
    redraw("hover");
  }

  /** The token whose column a cell stands in; -1: the cell belongs to no token. */
  function tokenOf(cell: Cell): number {
    const plate = plateOf(cell);
    if (!plate || plate.kind === "weight") return -1;
    const axis = plate.axes.findIndex((each) => each === "pos" || each === "query");
    return axis < 0 ? -1 : (cell.index[axis] ?? -1);
  }

  // --- camera --------------------------------------------------------------------------------------

  function fit(): void {
    rig.moved = false;
    rig.flyTo(rig.poseFor(fitPoints()));
    redraw("fit");
  }

  function focus(address: string): void {
    const name = canonical(address);
    if (!layout) return;
    const all = [...layout.plates, ...layout.blocks.flatMap((block) => block.detail().plates)];
    const own = all.filter((plate) => plate.name === name);
    if (own.length === 0) return;
    const points = own.flatMap((plate) => [0, 1].flatMap((u) => [0, 1].map((v) => pointAt(plate, u, v))));
    rig.moved = true;
    const pose = rig.poseFor(points, { yaw: rig.pose.yaw, pitch: rig.pose.pitch });
    rig.flyTo({ ...pose, distance: pose.distance * 1.35 });
    redraw("focus");
  }

  function resize(): void {
    const { clientWidth, clientHeight } = canvas;
    if (clientWidth === 0 || clientHeight === 0) return;
    renderer.setPixelRatio(Math.min(PIXEL_RATIO_MAX, window.devicePixelRatio));
    renderer.setSize(clientWidth, clientHeight, false);
    rig.width = clientWidth;
    rig.height = clientHeight;
    const buffer = renderer.getDrawingBufferSize(new Vector2());
    textMesh.setViewport(buffer.x, buffer.y);
    for (const mesh of [threads, overlay])
      (mesh.uniform("uViewport").value as Vector2).set(clientWidth, clientHeight);
    relayout("resize");
  }

  resize();
  return {
    setAnatomy(next) {
      anatomy = next;
      sites = new Map((next ? sitesOf(next) : []).map((site) => [site.address, site]));
      store.clear();
      tokens = NO_TOKENS;
      positions = 0;
      distribution = null;
      hovered = selected = null;
      operandCells = [];
      token = -1;
      rig.moved = false;
      lastWanted = "";
      relayout("anatomy");
    },
    setTokens(next, prompt, recorded) {
      const grew = next.length >= tokens.length && tokens.every((each, at) => each.id === next[at]?.id);
      if (!grew || recorded < positions) {
        store.clear((name) => !sites.has(name));
        lastWanted = "";
      }
      if (grew && recorded > positions && positions > 0) light.freshen(recorded - 1);
      if (recorded !== positions) lastWanted = "";
      for (const each of next) atlas.request(each.text);
      tokens = next;
      promptCount = prompt;
      positions = recorded;
      relayout("tokens");
    },
    setMatrix(matrix: Matrix) {
      store.set({ ...matrix, address: canonical(matrix.address) }, layout?.columns ?? 0);
      redraw("values");
    },
    appendRows(address, start, stop, values) {
      const site = sites.get(address);
      if (!site) return;
      const sizes = site.shape.map((size) => size ?? 0);
      store.append(canonical(address), site.axes, sizes, start, stop, values, layout?.columns ?? 0);
      light.freshen(stop - 1);
      redraw("rows");
    },
    setDistribution(next) {
      distribution = next;
      dirty.parts = true;
      redraw("distribution");
    },
    select(cell) {
      selected = canonicalCell(cell);
      if (!cell) operandCells = [];
      markCells();
      redraw("selection");
    },
    hover: (cell) => showHover(cell),
    highlight(addresses) {
      emphasized = new Set(addresses.map(canonical));
      plateMesh.emphasize(emphasized);
      for (const mesh of [threads]) mesh.uniform("uDimOthers").value = emphasized.size > 0 ? 1 : 0;
      redraw("highlight");
    },
    operands(cells) {
      operandCells = cells.map((cell) => ({ ...cell, address: canonical(cell.address) }));
      markCells();
      redraw("operands");
    },
    fit,
    focus,
    play(durationSecs) {
      light.play(durationSecs);
      redraw("light");
    },
    scrub(fraction) {
      light.scrub(fraction);
      redraw("scrub");
    },
    setTheme(theme: Theme) {
      palette = PALETTES[theme];
      for (const part of [backdrop, threads, plateMesh, slabMesh, overlay, textMesh])
        part.setPalette(palette);
      dirty.parts = true;
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
      relayout("insets");
    },
    legend(address) {
      const stored = store.get(canonical(address));
      const scaleName = sites.get(address)?.scale ?? "diverging";
      if (!stored) return null;
      return { scale: scaleName, limit: stored.limit };
    },
    stats: () => ({
      frames: scheduler.frames,
      drawCalls: renderer.info.render.calls,
      triangles: renderer.info.render.triangles,
      textureBytes: store.bytes + atlas.bytes,
      labels: labelCount,
      lastReason: scheduler.lastReason,
    }),
    resize,
    dispose() {
      disposed = true;
      clearTimeout(wantedTimer);
      scheduler.dispose();
      controls.dispose();
      for (const part of [backdrop, threads, plateMesh, slabMesh, overlay, textMesh, atlas, store])
        part.dispose();
      renderer.dispose();
    },
  };
}
