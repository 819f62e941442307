import type { StoreAddress } from "../data/Source";
import { isShape } from "../layout/expandShape";
import type { AppState } from "../state/AppState";
import { findSite, findWeight, whyRefused } from "../state/selectors";

/** The Zarr store that holds a tensor of the model on screen, and its shape; null if it is not recorded or refused. */
export function tensorStoreOf(
  state: AppState,
  name: string,
): { store: StoreAddress; shape: number[] } | null {
  const { anatomy, trace } = state;
  if (!anatomy || isShape(anatomy)) return null;
  const weight = findWeight(anatomy, name);
  if (weight) return { store: { kind: "weights", modelId: anatomy.model_id }, shape: weight.shape };
  const site = findSite(anatomy, name);
  if (!site || !trace || trace.positions === 0 || whyRefused(anatomy, name) !== null) return null;
  return {
    store: { kind: "recording", traceId: trace.id, positions: trace.positions },
    shape: site.shape.map((size) => size ?? trace.positions),
  };
}
