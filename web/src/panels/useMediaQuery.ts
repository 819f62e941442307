import { useSyncExternalStore } from "react";

/** Panels stand beside the scene, but not all fit below each other: a phone on its side, or a page at 200 %. */
export const SIDE_QUERY = "(min-width: 560px) and (max-width: 960px) and (max-height: 560px)";
/** Where panels are sheets, one at a time; matches the breakpoints in styles/narrow.css and styles/side.css. */
export const SHEETS_QUERY = `(max-width: 760px), ${SIDE_QUERY}`;

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
