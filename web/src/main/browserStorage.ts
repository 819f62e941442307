/** What the page needs of `localStorage` and `sessionStorage`. */
export type PageStorage = Pick<Storage, "getItem" | "setItem">;

/** The browser's storage; where that is forbidden (a private window, a foreign frame) or full, one for this visit. */
export function browserStorage(kind: "localStorage" | "sessionStorage"): PageStorage {
  const visit = new Map<string, string>();
  return {
    getItem(key) {
      try {
        return visit.get(key) ?? window[kind].getItem(key);
      } catch {
        return visit.get(key) ?? null;
      }
    },
    setItem(key, value) {
      try {
        window[kind].setItem(key, value);
        visit.delete(key);
      } catch {
        visit.set(key, value);
      }
    },
  };
}
