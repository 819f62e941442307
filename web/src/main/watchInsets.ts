import type { Scene } from "../scene/Scene";

/** Tells the scene how much of the window panels cover, from the panels that carry `data-inset`. */
export function watchInsets(scene: Scene, root: HTMLElement): void {
  let scheduled = false;

  function measure(): void {
    scheduled = false;
    const insets = { left: 0, right: 0, top: 0, bottom: 0 };
    for (const panel of root.querySelectorAll<HTMLElement>("[data-inset]")) {
      const box = panel.getBoundingClientRect();
      if (box.width === 0 || box.height === 0) continue;
      switch (panel.dataset.inset) {
        case "left":
          insets.left = Math.max(insets.left, box.right);
          break;
        case "right":
          insets.right = Math.max(insets.right, window.innerWidth - box.left);
          break;
        case "top":
          insets.top = Math.max(insets.top, box.bottom);
          break;
        default:
          insets.bottom = Math.max(insets.bottom, window.innerHeight - box.top);
      }
    }
    scene.setInsets(insets);
  }

  function schedule(): void {
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(measure);
  }

  const sizes = new ResizeObserver(schedule);
  const observed = new Set<Element>();
  const observePanels = () => {
    for (const panel of root.querySelectorAll("[data-inset]")) {
      if (observed.has(panel)) continue;
      observed.add(panel);
      sizes.observe(panel);
    }
    schedule();
  };
  new MutationObserver(observePanels).observe(root, { childList: true, subtree: true });
  window.addEventListener("resize", schedule);
  observePanels();
}
