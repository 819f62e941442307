import type { PointerEvent } from "react";
import type { HeadPlace } from "../../state/AppState";
import type { HeadViewProps } from "./HeadViewProps";

/** What pointing and clicking do over a drawing of heads; `headAt` finds one at a point in CSS pixels of the canvas. */
export function headEvents(
  headAt: (point: { x: number; y: number }) => HeadPlace | null,
  { onHover, onChoose }: Pick<HeadViewProps, "onHover" | "onChoose">,
) {
  const pointed = (event: Pick<PointerEvent, "currentTarget" | "clientX" | "clientY">) => {
    const box = event.currentTarget.getBoundingClientRect();
    return headAt({ x: event.clientX - box.left, y: event.clientY - box.top });
  };
  return {
    onPointerMove: (event: PointerEvent) => onHover(pointed(event)),
    onPointerLeave: () => onHover(null),
    onClick: (event: React.MouseEvent) => {
      const head = pointed(event);
      if (head) onChoose(head);
    },
  };
}
