import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createAppStore } from "../state/createAppStore";
import { tinyAnatomy } from "../state/tinyAnatomy";
import { tinyTrace } from "../state/tinyTrace";
import { watchUrl } from "./watchUrl";

/** What of a browser's window has to do with addresses. */
class AddressWindow extends EventTarget {
  readonly parent = this;
  readonly location = { search: "", pathname: "/llm" };
  readonly history = {
    pushState: (_: unknown, __: string, url: string) => this.#go(url),
    replaceState: (_: unknown, __: string, url: string) => this.#go(url),
  };

  #go(url: string): void {
    this.location.search = new URL(url, "http://localhost").search;
  }
}

let page: AddressWindow;

beforeEach(() => {
  page = new AddressWindow();
  vi.stubGlobal("window", page);
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("the address is written again after a way back that led nowhere, and what went wrong is told", async () => {
  const store = createAppStore({ anatomy: tinyAnatomy, trace: tinyTrace, activity: "idle" });
  watchUrl(store, () => Promise.reject(new Error("It is gone.")));
  page.dispatchEvent(new Event("popstate"));
  await vi.advanceTimersByTimeAsync(0);
  expect(store.getState().runError).toBe("It is gone.");
  store.setState({ position: 1 });
  await vi.advanceTimersByTimeAsync(1_000);
  expect(page.location.search).toContain("model=tiny");
});
