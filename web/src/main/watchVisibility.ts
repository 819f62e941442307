import type { SceneHost } from "./SceneHost";

/** Scrolling past a frame is no reason to draw it anew. */
const UNSEEN_MS = 2_000;

/**
 * Draws at once on a page of its own. In a frame (a notebook shows many) only while the frame is seen, so that the
 * contexts, of which a browser keeps few, are with the frames that somebody looks at.
 */
export function watchVisibility(host: SceneHost, stage: HTMLElement): void {
  if (window.parent === window) {
    host.draw();
    return;
  }
  let drawn = false;
  let intersects = false;
  let timer: ReturnType<typeof setTimeout> | undefined;

  function update(): void {
    clearTimeout(timer);
    if (intersects && !document.hidden) {
      if (!drawn) host.draw();
      drawn = true;
    } else if (drawn) {
      timer = setTimeout(() => {
        drawn = false;
        host.rest();
      }, UNSEEN_MS);
    }
  }

  host.rest();
  new IntersectionObserver((entries) => {
    intersects = entries.at(-1)?.isIntersecting ?? false;
    update();
  }).observe(stage);
  document.addEventListener("visibilitychange", update);
}
