/** How much of the window panels cover on each side, in CSS pixels. */
export interface Insets {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

export function isSameInsets(one: Insets, other: Insets): boolean {
  return (["left", "right", "top", "bottom"] as const).every((side) => one[side] === other[side]);
}
