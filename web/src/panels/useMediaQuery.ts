import { useSyncExternalStore } from "react";

/** Below this the panels are sheets; matches the breakpoint in styles/narrow.css. */
export const NARROW = "(max-width: 760px)";

export function useMediaQuery(query: string): boolean {
  return useSyncExternalStore(
    (onChange) => {
      const list = window.matchMedia(query);
      list.addEventListener("change", onChange);
      return () => list.removeEventListener("change", onChange);
    },
    () => window.matchMedia(query).matches,
  );
}
