import i18next from "i18next";
import { fetchShape, fetchShapes } from "../data/serverApi";
import { expandShape } from "../layout/expandShape";
import type { Anatomy, ModelShape } from "../protocol/schema.generated";
import { type AppStore, NOTHING_RECORDED } from "../state/createAppStore";
import { MOST_SHAPES } from "../state/urlState";
import { describeFailure } from "./describeFailure";

export interface ShapeOpener {
  /** Resolves to true once they are on screen; where one cannot be drawn, the others are, and it is said why. */
  open(shapeIds: readonly string[]): Promise<boolean>;
  list(): Promise<void>;
}

/** Draws models from their configs. What is on screen stays until the next is there; `onReplace` is called before it goes. */
export function createShapeOpener(store: AppStore, onReplace: () => void): ShapeOpener {
  let current: AbortController | null = null;

  async function open(shapeIds: readonly string[]): Promise<boolean> {
    current?.abort();
    const controller = new AbortController();
    current = controller;
    const wanted = [...new Set(shapeIds)];
    const ids = wanted.slice(0, MOST_SHAPES);
    store.setState({ opening: { modelId: ids.join(", "), progress: null }, modelFailure: null });
    const found = await Promise.allSettled(ids.map((id) => fetchShape(id, controller.signal)));
    if (controller.signal.aborted) return false;
    const shapes = found.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
    const failures = found.flatMap((each, at) =>
      each.status === "rejected"
        ? [{ modelId: ids[at] ?? "", message: describeFailure(store, each.reason) ?? "" }]
        : [],
    );
    for (const modelId of wanted.slice(MOST_SHAPES))
      failures.push({ modelId, message: i18next.t("shape.most") });
    store.setState({ opening: null, modelFailure: failures[0] ?? null });
    if (shapes.length === 0) return false;
    onReplace();
    store.setState({
      connection: "online",
      anatomy: joinShapes(shapes),
      shapes,
      prompt: "",
      ...NOTHING_RECORDED,
    });
    return true;
  }

  async function list(): Promise<void> {
    if (store.getState().shapeOffers !== null) return;
    try {
      store.setState({ shapeOffers: (await fetchShapes()).shapes });
    } catch (error) {
      describeFailure(store, error);
    }
  }

  return { open, list };
}

/** The anatomy of one; of several, what stands for them together: no part of them has an address of its own. */
function joinShapes(shapes: readonly ModelShape[]): Anatomy {
  const [first, ...others] = shapes as [ModelShape, ...ModelShape[]];
  if (others.length === 0) return expandShape(first);
  return {
    ...first.anatomy,
    model_id: shapes.map(({ shape_id }) => shape_id).join(", "),
    title: shapes.map(({ anatomy }) => anatomy.title).join(", "),
    blocks: [],
    before: [],
    after: [],
    weights: [],
    refused: null,
  };
}
