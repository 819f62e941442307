import { expect, test } from "vitest";
import { createAppStore } from "./createAppStore";
import { watchState } from "./watchState";

test("it calls back for what it watches, and for nothing else", () => {
  const store = createAppStore();
  const seen: string[] = [];
  watchState(
    store,
    (state) => [state.prompt, state.position],
    (state) => seen.push(`${state.prompt} ${state.position}`),
  );
  store.setState({ runError: "x" });
  store.setState({ prompt: "A", position: 1 });
  store.setState({ prompt: "A" });
  expect(seen).toEqual(["A 1"]);
});

test("the state before is the one last heard of, also where somebody else answers a change with another", () => {
  const store = createAppStore({ prompt: "before" });
  watchState(
    store,
    (state) => [state.prompt],
    () => store.setState({ position: 7 }),
  );
  const seen: string[] = [];
  watchState(
    store,
    (state) => [state.prompt],
    (state, previous) => seen.push(`${previous.prompt} -> ${state.prompt} at ${state.position}`),
  );
  store.setState({ prompt: "after" });
  expect(seen).toEqual(["before -> after at 7"]);
});
