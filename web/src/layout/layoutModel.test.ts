import { describe, expect, test } from "vitest";
import type { Anatomy, Weight } from "../protocol/schema.generated";
import { sitesOf } from "./inputsOf";
import type { Layout } from "./Layout";
import { columnsFor, layoutModel } from "./layoutModel";
import { cellOn, normalOfPlate, type Plate, placeOn, pointOfCell, shows } from "./Plate";
import { meet, pickCell } from "./pickCell";
import { GIANT, SORTER, sampleAnatomy, TALES } from "./sampleAnatomy";
import { SAMPLE_TEXTS } from "./sampleTexts";
import { add, dot, normalize, scale, subtract, type Vec3 } from "./Vec3";

const TOKENS = 31;
const CASES: [string, Anatomy][] = [
  ["Llama-shaped", sampleAnatomy(TALES)],
  ["GPT-2-shaped", sampleAnatomy(SORTER)],
];

function platesOf(layout: Layout): Plate[] {
  return [...layout.plates, ...layout.blocks.flatMap((block) => block.detail().plates)];
}

describe.each(CASES)("a %s model", (_, anatomy) => {
  const layout = layoutModel(anatomy, TOKENS, SAMPLE_TEXTS);
  const plates = platesOf(layout);

  test("gives every site and weight one place, and each head its own", () => {
    const weights = [...anatomy.weights, ...anatomy.blocks.flatMap((block) => block.weights)];
    const places = new Map<string, Plate[]>();
    for (const plate of plates) places.set(plate.name, [...(places.get(plate.name) ?? []), plate]);
    for (const site of sitesOf(anatomy)) {
      const own = places.get(layout.aliases.get(site.address) ?? site.address) ?? [];
      const heads = ["head", "kv_head"].includes(site.axes[0] ?? "") ? (site.shape[0] ?? 0) : 1;
      expect(own.length, site.address).toBe(heads);
      expect(new Set(own.map((plate) => plate.lead)).size).toBe(heads);
    }
    for (const weight of weights) expect(places.get(weight.name)?.length, weight.name).toBe(1);
    const known = new Set([
      ...sitesOf(anatomy).map((site) => site.address),
      ...weights.map((weight) => weight.name),
    ]);
    expect([...places.keys()].filter((name) => !known.has(name))).toEqual([]);
  });

  test("has finite places inside its bounds in x and y", () => {
    for (const plate of plates) {
      for (const point of [plate.corner, add(plate.corner, add(plate.right, plate.down))]) {
        expect(point.every(Number.isFinite), plate.name).toBe(true);
        expect(point[0]).toBeGreaterThanOrEqual(layout.bounds.min[0] - 1);
        expect(point[0]).toBeLessThanOrEqual(layout.bounds.max[0] + 1);
        expect(point[1]).toBeGreaterThanOrEqual(layout.bounds.min[1] - 1);
        expect(point[1]).toBeLessThanOrEqual(layout.bounds.max[1] + 1);
      }
      expect(Math.hypot(...plate.right), plate.name).toBeGreaterThan(0.5);
      expect(Math.hypot(...plate.down), plate.name).toBeGreaterThan(0.5);
    }
  });

  test("overlaps nothing within a plane", () => {
    const byPlane = new Map<string, Plate[]>();
    for (const plate of plates) {
      const normal = normalize(normalOfPlate(plate));
      const key = [...normal, dot(normal, plate.corner)].map((each) => each.toFixed(2)).join();
      byPlane.set(key, [...(byPlane.get(key) ?? []), plate]);
    }
    const wrong: string[] = [];
    for (const mates of byPlane.values()) {
      for (const [index, a] of mates.entries()) {
        for (const b of mates.slice(index + 1))
          if (overlap(a, b)) wrong.push(`${a.name} ${a.lead} / ${b.name} ${b.lead}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test("maps cells to places and back", () => {
    for (const plate of plates) {
      const column = Math.min(3, plate.columns.count - 1);
      const row = plate.rows.count - 1;
      const cell = cellOn(plate, (column + 0.5) / plate.columns.count, (row + 0.5) / plate.rows.count);
      expect(shows(plate, cell)).toBe(true);
      expect(placeOn(plate, cell)).toEqual({ column, row });
      const out = normalize(normalOfPlate(plate));
      const hit = meet(
        { origin: add(pointOfCell(plate, cell), scale(out, 5)), direction: scale(out, -1) },
        plate,
      );
      expect(hit).not.toBeNull();
      if (hit) expect(cellOn(plate, hit.u, hit.v)).toEqual(cell);
    }
  });

  test("picks the cell one points at, with its head", () => {
    const scores = plates.filter((plate) => plate.name === "attn_probs.1");
    for (const plate of scores) {
      const cell = { address: "attn_probs.1", index: [plate.lead, 5, 2] };
      const origin: Vec3 = add(pointOfCell(plate, cell), scale(normalize(normalOfPlate(plate)), 2));
      const hit = pickCell(
        { origin, direction: normalize(subtract(pointOfCell(plate, cell), origin)) },
        plates,
      );
      expect(hit?.cell).toEqual(cell);
    }
  });

  test("lets light pass in order of computation", () => {
    const order = new Map(plates.map((plate) => [plate.name, plate.order]));
    for (const site of sitesOf(anatomy)) {
      for (const plate of plates.filter((each) => each.name === site.address)) {
        for (const input of plate.inputs) {
          const before = order.get(layout.aliases.get(input) ?? input);
          if (before && input !== site.address)
            expect(before[0], `${input} > ${site.address}`).toBeLessThanOrEqual(plate.order[0]);
        }
      }
    }
  });
});

test("tokens of the stream stand in the same columns all the way down", () => {
  const layout = layoutModel(sampleAnatomy(TALES), TOKENS, SAMPLE_TEXTS);
  const stream = platesOf(layout).filter(
    (plate) => plate.kind === "site" && plate.axes.join() === "pos,d_model",
  );
  const columns = new Set(
    stream.map((plate) => pointOfCell(plate, { address: plate.name, index: [7, 0] })[0].toFixed(6)),
  );
  expect(columns.size).toBe(1);
});

test.each(["wide", "narrow"] as const)("a longer text moves no plate of a %s world", (format) => {
  const anatomy = sampleAnatomy(TALES);
  const cornersOf = (tokens: number) =>
    platesOf(layoutModel(anatomy, tokens, SAMPLE_TEXTS, format)).map(
      ({ name, lead, corner, right, down }) => [name, lead, ...corner, ...right, ...down],
    );
  const short = cornersOf(3);
  expect(short.length).toBeGreaterThan(100);
  expect(cornersOf(TOKENS)).toEqual(short);
  expect(cornersOf(900)).toEqual(short);
});

test("columns grow in steps", () => {
  expect(columnsFor(31)).toBe(32);
  expect(columnsFor(32)).toBe(40);
  expect(columnsFor(0)).toBe(8);
});

test("what has not been checked stands in outline where it will stand when it has been", () => {
  const whole = sampleAnatomy(TALES);
  const outline = {
    ...whole,
    checked: 0,
    blocks: whole.blocks.map((block) => ({
      ...block,
      sites: block.sites.map((site) => ({
        ...site,
        equation: null,
        check: { ...site.check, status: "unchecked" as const },
      })),
    })),
  };
  const [before, after] = [
    platesOf(layoutModel(outline, 8, SAMPLE_TEXTS)),
    platesOf(layoutModel(whole, 8, SAMPLE_TEXTS)),
  ];
  const bare = (plate: (typeof before)[number]) => ({ ...plate, order: [], inputs: [], unchecked: false });
  expect(before.map(bare)).toEqual(after.map(bare));
  const sites = before.filter((plate) => plate.kind === "site" && plate.block !== null);
  expect(sites.length).toBeGreaterThan(20);
  expect(sites.every((plate) => plate.unchecked)).toBe(true);
  expect(after.some((plate) => plate.unchecked)).toBe(false);
});

test("a refused site is marked with its reason and keeps its place", () => {
  const anatomy = sampleAnatomy(TALES);
  const site = anatomy.blocks[2]?.sites.find((each) => each.point === "mlp_act");
  if (site) site.check = { ...site.check, status: "refused", reason: "its equation does not hold" };
  const layout = layoutModel(anatomy, 8, SAMPLE_TEXTS);
  const plate = platesOf(layout).find((each) => each.name === "mlp_act.2");
  expect(plate?.refused).toBe("its equation does not hold");
  const labels = layout.blocks[2]?.detail().labels ?? [];
  expect(labels.some((label) => label.text.includes("does not hold"))).toBe(true);
});

test("a model that cannot be read says so, and still has tiles and skyline", () => {
  const anatomy = {
    ...sampleAnatomy(TALES),
    blocks: [],
    before: [],
    after: [],
    weights: [],
    refused: "its trunk was not found",
  };
  const layout = layoutModel(anatomy, 4, SAMPLE_TEXTS);
  expect(layout.labels.map((label) => label.text)).toContain("its trunk was not found");
  expect([...layout.bounds.min, ...layout.bounds.max].every(Number.isFinite)).toBe(true);
});

test("an adapter's A and B lie along the edges of the matrix that they change, and what A makes at the foot", () => {
  const anatomy = sampleAnatomy(TALES);
  const block = anatomy.blocks[1];
  const change = (matrix: string, part: "A" | "B", axes: Weight["axes"], shape: number[]): Weight => ({
    name: matrix.replace(/weight$/, `lora_${part}.weight`),
    role: part === "A" ? "lora_a" : "lora_b",
    block: 1,
    axes,
    shape,
    dtype: "float32",
    tied_to: null,
    stored: null,
  });
  const [q, o] = ["q", "o"].map((role) => block?.weights.find((weight) => weight.role === role));
  if (!block || !q || !o) throw new Error("the sample has attention");
  const before = platesOf(layoutModel(anatomy, 8, SAMPLE_TEXTS));
  block.weights.push(
    change(q.name, "A", ["rank", "d_model"], [4, 128]),
    change(q.name, "B", ["row", "rank"], [128, 4]),
    change(o.name, "A", ["rank", "row"], [4, 128]),
    change(o.name, "B", ["d_model", "rank"], [128, 4]),
  );
  const site = block.sites.find((each) => each.point === "attn_in");
  if (site)
    block.sites.push({
      ...site,
      address: "lora_q.1",
      point: "lora_q",
      axes: ["pos", "rank"],
      shape: [null, 4],
    });
  const plates = platesOf(layoutModel(anatomy, 8, SAMPLE_TEXTS));
  const size = (side: readonly number[]) => Math.hypot(...side);
  const find = (name: string) => plates.find((plate) => plate.name === name) as Plate;
  for (const matrix of [q, o]) {
    const whole = find(matrix.name);
    for (const part of ["A", "B"]) {
      const thin = find(matrix.name.replace(/weight$/, `lora_${part}.weight`));
      const axis = thin.axes.find((each) => each !== "rank");
      const isAcross = thin.axes[thin.columns.axis] === axis;
      // As long as the side of the matrix with the same features, and thin.
      expect(size(isAcross ? thin.right : thin.down)).toBeCloseTo(size(isAcross ? whole.right : whole.down));
      expect(size(isAcross ? thin.down : thin.right)).toBeLessThan(5);
      expect(whole.axes[isAcross ? whole.columns.axis : whole.rows.axis]).toBe(axis);
    }
  }
  const low = find("lora_q.1");
  const heads = plates.filter((plate) => plate.block === 1 && plate.station === "head");
  const foot = (plate: Plate) => plate.corner[1] + plate.down[1];
  expect(Math.min(...heads.map(foot))).toBeGreaterThan(low.corner[1]);
  // Blocks that no adapter changes stay as they are.
  const others = (all: Plate[]) =>
    all.filter((plate) => plate.block === 0).map(({ corner, right }) => [corner, right]);
  expect(others(plates)).toEqual(others(before));
});

test("what no layout foresaw still has a place", () => {
  const anatomy = sampleAnatomy(TALES);
  const block = anatomy.blocks[1];
  const model = block?.sites.find((site) => site.point === "mlp_pre");
  if (!block || !model) throw new Error("no such site");
  block.heads = block.kv_heads = null;
  block.sites.splice(11, 0, {
    ...model,
    address: "router.1",
    point: "router",
    axes: ["pos", "expert"],
    shape: [null, 8],
  });
  anatomy.blocks[2]?.sites.push({
    ...model,
    address: "sinks.2",
    point: "sinks",
    axes: ["head", "pos", "d_head"],
    shape: [8, null, 4],
  });
  block.weights.push({
    name: "blocks.1.experts.weight",
    role: "other",
    block: 1,
    axes: ["expert", "row", "column"],
    shape: [8, 64, 128],
    dtype: "float32",
    stored: null,
    tied_to: null,
  });
  const names = new Set(platesOf(layoutModel(anatomy, 8, SAMPLE_TEXTS)).map((plate) => plate.name));
  expect(names).toContain("router.1");
  expect(names).toContain("sinks.2");
  expect(names).toContain("blocks.1.experts.weight");
});

test("parts of the heads that are refused for one reason say it once, over all of them", () => {
  const anatomy = sampleAnatomy(TALES);
  const reason = "attention is computed elsewhere";
  for (const site of anatomy.blocks[0]?.sites ?? []) {
    if (/^(q|k|v|z|attn_scores)$/.test(site.point)) site.check = { ...site.check, status: "refused", reason };
  }
  const detail = layoutModel(anatomy, 8, SAMPLE_TEXTS).blocks[0]?.detail();
  const said = detail?.labels.filter((label) => label.role === "reason").map((label) => label.text);
  expect(said).toEqual([`q, attn_scores, z, k, v: ${reason}`]);
  expect(detail?.plates.filter((plate) => plate.refused).length).toBeGreaterThan(5);
});

test("experts stand side by side, and no more than can be told apart", () => {
  const anatomy = sampleAnatomy(TALES);
  const block = anatomy.blocks[0];
  const model = block?.weights.find((weight) => weight.role === "down");
  if (!block || !model) throw new Error("no such weight");
  for (const [name, count] of [
    ["few", 4],
    ["many", 128],
  ] as const) {
    const axes: Weight["axes"] = ["expert", "row", "column"];
    const shape = [count, 24, 32];
    block.weights.push({ ...model, name: `blocks.0.mlp.${name}`, role: "other", axes, shape });
  }
  const layout = layoutModel(anatomy, 8, SAMPLE_TEXTS);
  const detail = layout.blocks[0]?.detail();
  const platesNamed = (name: string) => detail?.plates.filter((plate) => plate.name.endsWith(name)) ?? [];
  expect(platesNamed("few").map((plate) => plate.lead)).toEqual([0, 1, 2, 3]);
  expect(platesNamed("many").map((plate) => plate.lead)).toEqual([...Array(16).keys()]);
  // All of a tensor is fetched, whatever is drawn of it.
  expect(platesNamed("many")[0]?.leads).toBe(128);
  expect(detail?.labels.map((label) => label.text)).toContain("mlp.many · 16 of 128");
});

test("a block without attention has its mixer's weights where others have their heads", () => {
  const anatomy = sampleAnatomy(TALES);
  const block = anatomy.blocks[0];
  const model = block?.weights.find((weight) => weight.role === "down");
  if (!block || !model) throw new Error("no such weight");
  Object.assign(block, { kind: "linear", heads: null, kv_heads: null });
  block.sites = block.sites.filter((site) => !/^(q|k|v|z|attn_scores|attn_probs)$/.test(site.point));
  const other = (name: string, axes: Weight["axes"], shape: number[]): Weight => ({
    ...model,
    name: `blocks.0.${name}`,
    role: "other",
    axes,
    shape,
  });
  block.weights = [
    ...block.weights.filter((weight) => !["q", "k", "v", "o"].includes(weight.role)),
    other("mixer.in_proj.weight", ["row", "column"], [256, 128]),
    other("mixer.conv1d.weight", ["channel", "row", "column"], [64, 1, 4]),
    other("moe.router.weight", ["row", "column"], [4, 128]),
  ];
  const layout = layoutModel(anatomy, 8, SAMPLE_TEXTS);
  const detail = layout.blocks[0]?.detail();
  const sideOf = (name: string) =>
    Math.sign(detail?.plates.find((plate) => plate.name.includes(name))?.corner[0] ?? 0);
  expect([sideOf("in_proj"), sideOf("conv1d"), sideOf("router"), sideOf("down")]).toEqual([-1, -1, 1, 1]);
  // The kernels of a convolution are the rows of one matrix.
  const kernels = detail?.plates.filter((plate) => plate.name.includes("conv1d")) ?? [];
  expect(kernels.map((plate) => [plate.lead, plate.rows.count, plate.columns.count])).toEqual([[-1, 64, 4]]);
  const titles = layout.labels.filter((label) => label.role === "title").map((label) => label.text);
  expect(titles).toEqual(
    expect.arrayContaining([`mixing ${JSON.stringify({ heads: 8, attends: 5, mixes: 1 })}`]),
  );
});

test("a giant lays out at once, and from afar is few drawables", () => {
  const anatomy = sampleAnatomy(GIANT);
  const start = performance.now();
  const layout = layoutModel(anatomy, 2048, SAMPLE_TEXTS);
  expect(performance.now() - start).toBeLessThan(1500);
  const far = layout.blocks.reduce((sum, block) => sum + block.far.heads.length + 2, 0);
  expect(far).toBeLessThan(10_000);
  expect(layout.blocks[50]?.detail().plates.length).toBeLessThan(700);
});

function overlap(a: Plate, b: Plate): boolean {
  const [right, down] = [normalize(a.right), normalize(a.down)];
  const span = (plate: Plate, axis: Vec3): [number, number] => {
    const ends = [
      plate.corner,
      add(plate.corner, plate.right),
      add(plate.corner, plate.down),
      add(plate.corner, add(plate.right, plate.down)),
    ];
    const along = ends.map((point) => dot(point, axis));
    return [Math.min(...along), Math.max(...along)];
  };
  return [right, down].every((axis) => {
    const [a0, a1] = span(a, axis);
    const [b0, b1] = span(b, axis);
    return a0 < b1 - 1e-6 && b0 < a1 - 1e-6;
  });
}
