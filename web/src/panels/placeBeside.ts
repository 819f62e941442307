const GAP_PX = 16;
const EDGE_PX = 8;

/** Puts a card beside a point of the window, on the side where it has room. */
export function placeBeside(card: HTMLElement | null, at: { x: number; y: number }): void {
  if (!card) return;
  const { offsetWidth: width, offsetHeight: height } = card;
  const left = at.x + GAP_PX + width > window.innerWidth ? at.x - GAP_PX - width : at.x + GAP_PX;
  const top = at.y + GAP_PX + height > window.innerHeight ? at.y - GAP_PX - height : at.y + GAP_PX;
  card.style.transform = `translate(${Math.max(EDGE_PX, left)}px, ${Math.max(EDGE_PX, top)}px)`;
}
