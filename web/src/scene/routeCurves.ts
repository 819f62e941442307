import type { Layout } from "../layout/Layout";
import { columnAt } from "../layout/layoutTiles";
import { cellRect, type Mosaic } from "../layout/Mosaic";
import { add, scale, type Vec3 } from "../layout/Vec3";
import type { Reading } from "../protocol/schema.generated";
import type { Curve } from "./Curve";
import type { ValueStore } from "./ValueStore";

/** Lines of a block to its experts: more would be a cloth, so then only those of the token that is read are drawn. */
const LINES_MAX = 160;
const OWN = { strength: 0.75, widthPx: 1.5 };
const OTHERS = { strength: 0.16, widthPx: 1 };

/** From the columns of tokens to the experts that they chose, as strong as the expert's share of what they all say. */
export function routeCurves(
  layout: Layout,
  mosaic: Mosaic,
  store: Pick<ValueStore, "valueAt" | "rangeOf">,
  reading: Reading | null,
): Curve[] {
  const limit = store.rangeOf(mosaic.name)?.limit ?? 0;
  if (limit === 0) return [];
  const own = reading?.position ?? -1;
  const chosenBy = (token: number) =>
    Array.from({ length: mosaic.count }, (_, expert) => {
      const share = store.valueAt({ address: mosaic.name, index: [token, expert] });
      return { token, expert, share: Math.min(1, Math.abs(share ?? 0) / limit) };
    }).filter(({ share }) => share > 0);
  let chosen: { token: number; expert: number; share: number }[] = [];
  for (let token = 0; token < mosaic.columns; token++) {
    chosen.push(...chosenBy(token));
    if (chosen.length > LINES_MAX) {
      chosen = own < 0 ? [] : chosenBy(own);
      break;
    }
  }
  const count = Math.max(1, layout.blocks.length);
  return chosen.map(({ token, expert, share }): Curve => {
    const cell = cellRect(mosaic, expert);
    const from: Vec3 = [columnAt(layout, token), mosaic.corner[1], 0];
    const to = add(cell.corner, scale(cell.down, 0.5));
    const across = to[0] - from[0];
    const look = token === own ? OWN : OTHERS;
    return {
      points: [from, [from[0] + across * 0.4, from[1], 4], [to[0] - across * 0.3, to[1], to[2] + 4], to],
      order: [mosaic.block / count, (mosaic.block + 0.7) / count],
      widthPx: look.widthPx,
      strength: look.strength * (0.3 + 0.7 * share),
      token,
      selected: false,
    };
  });
}
