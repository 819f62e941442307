import type { AppState } from "../../state/AppState";
import { toggleOff } from "../../state/decision";
import { findSite } from "../../state/selectors";
import { useApp } from "../AppContext";
import type { OutlineNode } from "../outlineNodes";
import { boundaryOfNode, partOfNode, readingOutline } from "./readingOutline";
import { useTelling } from "./useTelling";

/** What the far view shows, as a branch of the outline; null while nothing is read. */
export function useReadingOutline(): OutlineNode | null {
  const telling = useTelling();
  const { reading, effects, off } = useApp((state) => ({
    reading: state.reading.value,
    effects: state.effects.value,
    off: state.off,
  }));
  return reading && readingOutline(reading, effects, off, telling);
}

/** What choosing a leaf of it does: a part is switched off or put back, a depth opens the stream there. */
export function chooseTold(state: AppState, id: string): Partial<AppState> {
  const part = partOfNode(id);
  if (part !== null) return toggleOff(state, part);
  const boundary = boundaryOfNode(id);
  const address = boundary === 0 ? "embeddings" : `resid_post.${(boundary ?? 0) - 1}`;
  if (boundary === null || !findSite(state.anatomy, address)) return {};
  return {
    selection: { address, index: [state.reading.value?.position ?? 0, 0] },
    sheet: "inspector",
  };
}
