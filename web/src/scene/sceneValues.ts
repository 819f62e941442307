import type { Site } from "../protocol/schema.generated";
import type { Scene } from "./Scene";
import type { ValueStore } from "./ValueStore";

/** What the part of a scene that holds its numbers needs of the rest. */
interface Surroundings {
  store: ValueStore;
  siteOf(address: string): Site | undefined;
  /** A tensor with two addresses is drawn, stored and marked under one. */
  nameOf(address: string): string;
  redraw(reason: string): void;
  /** The newest column is there. */
  freshen(column: number): void;
}

type Values = Pick<
  Scene,
  "setMatrix" | "appendRows" | "setScaling" | "setFailed" | "legend" | "valueAt" | "poolAt"
>;

/** What a scene does with numbers: takes them in, and says what it knows of them. */
export function sceneValues({ store, siteOf, nameOf, redraw, freshen }: Surroundings): Values {
  return {
    setMatrix(matrix) {
      redraw("values");
      return store.set({ ...matrix, address: nameOf(matrix.address) });
    },
    appendRows(address, start, stop, values, lead) {
      const site = siteOf(address);
      if (!site) return;
      const sizes = site.shape.map((size) => size ?? 0);
      store.append(nameOf(address), site.axes, sizes, start, stop, values, lead);
      freshen(stop - 1);
      redraw("rows");
    },
    setScaling(scaling) {
      store.setScaling(scaling);
      redraw("scaling");
    },
    setFailed(matrices) {
      store.fail(matrices);
      redraw("failed");
    },
    legend(address) {
      const range = store.rangeOf(nameOf(address));
      const site = siteOf(address);
      return range && { scale: site ? (site.scale ?? "diverging") : "weight", ...range };
    },
    valueAt: (cell) => store.valueAt({ ...cell, address: nameOf(cell.address) }),
    poolAt: (cell) => store.poolAt({ ...cell, address: nameOf(cell.address) }),
  };
}
