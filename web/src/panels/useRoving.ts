import { type FocusEvent, type KeyboardEvent, type RefObject, useState } from "react";

interface Roving {
  /** The place of the one button that Tab leads to. */
  stop: number;
  onKeyDown(event: KeyboardEvent): void;
  onFocus(event: FocusEvent): void;
}

/** Makes a row of buttons one tab stop: arrows, Home and End go from one to the next. `start` is where it begins. */
export function useRoving(
  list: RefObject<HTMLElement | null>,
  count: number,
  start: number,
  selector = "button",
): Roving {
  const [focused, setFocused] = useState<number | null>(null);
  const stop = Math.min(focused ?? start, count - 1);
  const buttons = () => [...(list.current?.querySelectorAll<HTMLElement>(selector) ?? [])];
  const goals: Record<string, (at: number) => number> = {
    ArrowLeft: (at) => at - 1,
    ArrowRight: (at) => at + 1,
    ArrowUp: (at) => at - 1,
    ArrowDown: (at) => at + 1,
    Home: () => 0,
    End: () => count - 1,
  };
  return {
    stop,
    onKeyDown(event) {
      const at = buttons().indexOf(event.target as HTMLElement);
      const goal = at < 0 ? undefined : goals[event.key]?.(at);
      if (goal === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      buttons()[Math.max(0, Math.min(count - 1, goal))]?.focus();
    },
    onFocus(event) {
      const at = buttons().indexOf(event.target as HTMLElement);
      if (at >= 0) setFocused(at);
    },
  };
}
