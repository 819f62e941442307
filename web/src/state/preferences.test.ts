import { expect, test } from "vitest";
import { createAppStore } from "./createAppStore";
import { readPreferences, writePreferences } from "./preferences";

function createStorage(initial: Record<string, string> = {}): Pick<Storage, "getItem" | "setItem"> {
  const items = new Map(Object.entries(initial));
  return { getItem: (key) => items.get(key) ?? null, setItem: (key, value) => void items.set(key, value) };
}

const defaults = createAppStore().getState();

test("panels, theme and scale are remembered, the guide is not reopened", () => {
  const storage = createStorage();
  const panels = { ...defaults.panels, outline: true, prompt: false, guide: true };
  const scaling = { shared: true, logarithmic: false };
  writePreferences(storage, { themeChoice: "light", language: "en", large: true, panels, scaling });
  expect(readPreferences(storage, defaults)).toEqual({
    themeChoice: "light",
    language: "en",
    large: true,
    panels: { ...panels, guide: false },
    scaling,
  });
});

test.each([
  "",
  "not json",
  "null",
  "[]",
  '{"themeChoice": "pink", "panels": {"prompt": "yes", "attic": true}, "scaling": {"shared": "no"}}',
])("a memory that makes no sense is ignored: %s", (saved) => {
  const { themeChoice, language, large, panels, scaling } = defaults;
  expect(readPreferences(createStorage({ "glassformer.preferences": saved }), defaults)).toEqual({
    themeChoice,
    language,
    large,
    panels,
    scaling,
  });
});

test("a full storage does not stop the page", () => {
  const setItem = () => {
    throw new Error("quota");
  };
  expect(() => writePreferences({ setItem }, defaults)).not.toThrow();
});
