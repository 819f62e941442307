import type { Anatomy, Explanation, Site } from "../protocol/schema.generated";
import { computeCell } from "./operation/closedSet";
import type { ExplainedCell } from "./operation/ExplainedCell";
import { addUp, finite, TOTAL } from "./operation/formula";
import { NotFollowedError, type Operands, type Readings } from "./operation/Operands";
import { type Addend, messageOf } from "./operation/term";

export { NotFollowedError };

/** As many as the server lists. */
const LISTED_TERMS = 16;

/**
 * Where one cell comes from, as `glassformer/explain/explain.py` tells it, computed from the files of an export.
 * Throws NotFollowedError for an equation that needs the model itself.
 */
export async function explainCell(
  anatomy: Anatomy,
  site: Site,
  index: number[],
  readings: Readings,
): Promise<Explanation> {
  const [value = Number.NaN] = Array.from(await readings.readSite(site.address, index));
  const shapes = shapesOf(anatomy, readings.positions);
  const operands: Operands = {
    ...readings,
    ...shapes,
    readWeight: async (name, selection) => {
      // What the anatomy does not list is held by the model alone.
      shapes.weightShape(name);
      return readings.readWeight(name, selection);
    },
  };
  const cell = site.equation ? await computeCell(site.equation, operands, index) : null;
  const recomputed = cell ? finite(cell.value) : null;
  const { listed, rest } = listTerms(cell);
  const note = cell?.note ?? "";
  return {
    address: site.address,
    axes: site.axes,
    index,
    value: finite(value),
    provenance: site.provenance,
    equation: site.equation,
    latex: cell?.latex ?? "",
    recomputed,
    difference: recomputed !== null && Number.isFinite(value) ? Math.abs(value - recomputed) : null,
    terms: listed.map(messageOf),
    rest_count: rest.length,
    rest_sum: finite(addUp(rest.map((term) => term.contribution))),
    result: cell?.result ?? TOTAL,
    note: note || Number.isFinite(value) ? note : describeOverflow(value, anatomy.dtype),
    batched_difference: null,
    rebuilt_difference: null,
  };
}

function shapesOf(anatomy: Anatomy, positions: number): Pick<Operands, "siteShape" | "weightShape"> {
  const sites = [...anatomy.before, ...anatomy.blocks.flatMap((block) => block.sites), ...anatomy.after];
  const weights = [...anatomy.weights, ...anatomy.blocks.flatMap((block) => block.weights)];
  const siteShapes = new Map(sites.map(({ address, shape }) => [address, shape]));
  const weightShapes = new Map(weights.map(({ name, shape }) => [name, shape]));
  return {
    siteShape: (address) => known(siteShapes.get(address), address).map((size) => size ?? positions),
    weightShape: (name) => known(weightShapes.get(name), name),
  };
}

function known<Shape>(shape: Shape | undefined, name: string): Shape {
  if (shape === undefined) throw new NotFollowedError(name);
  return shape;
}

/** Splits the terms into those to list (largest first, always with the one that the cell equals) and the others. */
function listTerms(cell: ExplainedCell | null): { listed: Addend[]; rest: Addend[] } {
  const sizeOf = ({ contribution }: Addend) =>
    Number.isNaN(contribution) ? Number.POSITIVE_INFINITY : Math.abs(contribution);
  const terms = (cell?.terms ?? []).toSorted((one, other) =>
    // Not their difference: of two infinite ones it is none.
    sizeOf(one) === sizeOf(other) ? 0 : sizeOf(one) < sizeOf(other) ? 1 : -1,
  );
  const own = cell?.result?.kind === "term" ? cell.result.label : null;
  const late = terms.slice(LISTED_TERMS).filter((term) => term.label === own);
  const kept = LISTED_TERMS - late.length;
  return {
    listed: [...terms.slice(0, kept), ...late],
    rest: terms.slice(kept).filter((term) => term.label !== own),
  };
}

/** What to say of a cell that is infinite or not a number. */
function describeOverflow(value: number, dtype: string): string {
  const what = Number.isNaN(value) ? "not a number (NaN)" : value < 0 ? "minus infinity" : "infinity";
  if (dtype !== "float16") return `This cell is ${what}.`;
  const advice = "numbers overflow in float16, which ends at 65,504; load the model in bfloat16 or float32";
  return `This cell is ${what}: ${advice}.`;
}
