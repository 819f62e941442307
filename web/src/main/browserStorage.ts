/** What the page needs of `localStorage` and `sessionStorage`. */
export type PageStorage = Pick<Storage, "getItem" | "setItem">;

/** The browser's storage; where that is forbidden (a private window, a foreign frame) or full, one that forgets. */
export function browserStorage(kind: "localStorage" | "sessionStorage"): PageStorage {
  return {
    getItem(key) {
      try {
        return window[kind].getItem(key);
      } catch {
        return null;
      }
    },
    setItem(key, value) {
      try {
        window[kind].setItem(key, value);
      } catch {
        // The page itself holds what it needs; the next one begins anew.
      }
    },
  };
}
