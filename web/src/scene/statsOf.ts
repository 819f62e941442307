import type { WebGLRenderer } from "three";
import type { GlyphAtlas } from "./GlyphAtlas";
import type { SceneStats } from "./Scene";
import type { Scheduler } from "./Scheduler";
import type { ValueStore } from "./ValueStore";

/** What a scene tells of its work. */
export function statsOf(
  { info }: WebGLRenderer,
  store: ValueStore,
  atlas: GlyphAtlas,
  { frames, lastReason }: Scheduler,
  drawn: Pick<SceneStats, "labels" | "plates" | "mosaics">,
): SceneStats {
  return {
    frames,
    drawCalls: info.render.calls,
    triangles: info.render.triangles,
    textureBytes: store.bytes + atlas.bytes,
    uploadedBytes: store.uploadedBytes,
    tensors: store.size,
    ...drawn,
    lastReason,
  };
}
