import type { Page } from "playwright-core";

/** The page's own keys, those of the picture and of fields, and what fingers hit beside them. */
const KEYS = [
  ..."/w?gofhz,.prlstmnbWGOZB+-",
  ...["Escape", "Escape", "Tab", "Shift+Tab", "Enter", "Space", "Backspace", "Delete"],
  ...["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End"],
  ...["Shift+ArrowLeft", "Shift+ArrowUp", "Shift+Z", "Shift+B"],
  ...["Control+Enter", "Control+Shift+Enter", "Control+."],
];
/** What somebody types: sense, other scripts, nothing, addresses, numbers out of range. */
const TYPED = [
  "Mia has a ball. ",
  "CBABBC",
  "漢字 🙂",
  "resid_post.1",
  "-1",
  "1e9",
  " ",
  "Tom",
  "blocks.2",
  "7",
];
const SIZES = [
  { width: 1400, height: 900 },
  { width: 1000, height: 650 },
  { width: 700, height: 450 },
  { width: 390, height: 844 },
];
const MODELS = ["tales", "sorter"];
/** What can be pressed, and where each stands. */
const CONTROLS =
  "button, summary, select, input, textarea, [role=button], [role=option], [role=treeitem], [tabindex='0']";

type Action = (monkey: Monkey) => Promise<string>;

/** What is done how often. */
const ACTIONS: [number, Action][] = [
  [26, (monkey) => monkey.pressKey()],
  [24, (monkey) => monkey.clickControl()],
  [12, (monkey) => monkey.clickAnywhere()],
  [5, (monkey) => monkey.doubleClick()],
  [10, (monkey) => monkey.turnWheel()],
  [6, (monkey) => monkey.drag()],
  [3, (monkey) => monkey.type()],
  [3, (monkey) => monkey.press("run")],
  [3, (monkey) => monkey.press("generate")],
  [2, (monkey) => monkey.resize()],
  [2, (monkey) => monkey.changeAppearance()],
  [3, (monkey) => monkey.walkHistory()],
  [1, (monkey) => monkey.changeModel()],
];
const CHOICES = ACTIONS.flatMap(([times, act]) => Array.from({ length: times }, () => act));

/** Uses a page as somebody would who presses whatever is there; the same seed makes the same choices. */
export class Monkey {
  readonly #page: Page;
  #seed: number;
  /** What was done so far, to be told where something goes wrong. */
  readonly done: string[] = [];

  constructor(page: Page, seed: number) {
    this.#page = page;
    this.#seed = seed;
  }

  async step(): Promise<void> {
    const act = this.#pick(CHOICES);
    this.done.push("…");
    this.done[this.done.length - 1] = await act(this);
  }

  async pressKey(): Promise<string> {
    const key = this.#pick(KEYS);
    await this.#page.keyboard.press(key);
    return `key ${key}`;
  }

  async clickControl(): Promise<string> {
    const controls = await this.#page.evaluate((selector) => {
      const places: { x: number; y: number; name: string }[] = [];
      for (const element of document.querySelectorAll<HTMLElement>(selector)) {
        const { left, top, width, height } = element.getBoundingClientRect();
        const [x, y] = [left + width / 2, top + height / 2];
        if (width === 0 || x < 0 || y < 0 || x >= innerWidth || y >= innerHeight) continue;
        const name = element.dataset.testid ?? element.ariaLabel ?? element.textContent ?? "";
        places.push({ x, y, name: `${element.tagName} ${name.slice(0, 40)}` });
      }
      return places;
    }, CONTROLS);
    if (controls.length === 0) return "no control";
    const { x, y, name } = this.#pick(controls);
    await this.#page.mouse.click(x, y);
    return `click ${name}`;
  }

  async clickAnywhere(): Promise<string> {
    const { x, y } = this.#place();
    await this.#page.mouse.click(x, y);
    return `click ${x},${y}`;
  }

  async doubleClick(): Promise<string> {
    const { x, y } = this.#place();
    await this.#page.mouse.dblclick(x, y);
    return `double click ${x},${y}`;
  }

  async turnWheel(): Promise<string> {
    const { x, y } = this.#place();
    const turn = this.#pick([-1200, -600, -600, -300, -100, 100, 300, 2400]);
    await this.#page.mouse.move(x, y);
    await this.#page.mouse.wheel(0, turn);
    return `wheel ${turn} at ${x},${y}`;
  }

  async drag(): Promise<string> {
    const [from, to] = [this.#place(), this.#place()];
    const held = this.#random() < 0.5 ? "Shift" : null;
    if (held) await this.#page.keyboard.down(held);
    await this.#page.mouse.move(from.x, from.y);
    await this.#page.mouse.down({ button: this.#random() < 0.2 ? "right" : "left" });
    await this.#page.mouse.move(to.x, to.y, { steps: 3 });
    await this.#page.mouse.up();
    await this.#page.mouse.up({ button: "right" });
    if (held) await this.#page.keyboard.up(held);
    return `${held ?? ""} drag ${from.x},${from.y} to ${to.x},${to.y}`;
  }

  /** Where the focus is, in the prompt, or in the search. */
  async type(): Promise<string> {
    const [text, field] = [this.#pick(TYPED), this.#pick(["", "w", "/"])];
    if (field) {
      await this.#page.keyboard.press("Escape");
      await this.#page.keyboard.press(field);
    }
    await this.#page.keyboard.type(text);
    return `type ${field} ${text}`;
  }

  /** Presses a button that does something every time it can be pressed. */
  async press(testId: string): Promise<string> {
    await this.#page.evaluate((testId) => {
      document.querySelector<HTMLElement>(`[data-testid=${testId}]`)?.click();
    }, testId);
    return testId;
  }

  async resize(): Promise<string> {
    const size = this.#pick(SIZES);
    await this.#page.setViewportSize(size);
    return `size ${size.width}x${size.height}`;
  }

  async changeAppearance(): Promise<string> {
    const colorScheme = this.#pick(["dark", "light"] as const);
    const reducedMotion = this.#pick(["reduce", "no-preference"] as const);
    await this.#page.emulateMedia({ colorScheme, reducedMotion });
    return `${colorScheme}, motion ${reducedMotion}`;
  }

  async walkHistory(): Promise<string> {
    const way = this.#pick(["back", "back", "forward", "reload"]);
    if (way === "reload") await this.#page.reload({ waitUntil: "load" });
    else {
      // The browser's own empty page stands before the first one.
      await this.#page.evaluate((way) => {
        const { navigation } = window as unknown as {
          navigation: { currentEntry: { index: number }; entries(): unknown[] };
        };
        const at = navigation.currentEntry.index + (way === "back" ? -1 : 1);
        if (at >= 0 && at < navigation.entries().length) history.go(way === "back" ? -1 : 1);
      }, way);
    }
    await this.#page.waitForFunction(() => Boolean(window.glassformer));
    return way;
  }

  async changeModel(): Promise<string> {
    const model = this.#pick(MODELS);
    await this.#page.keyboard.press("Escape");
    await this.press("model-picker");
    await this.#page.keyboard.type(model);
    await this.#page.keyboard.press("Enter");
    return `model ${model}`;
  }

  #place(): { x: number; y: number } {
    const { width, height } = this.#page.viewportSize() ?? { width: 1, height: 1 };
    return { x: Math.floor(this.#random() * width), y: Math.floor(this.#random() * height) };
  }

  #pick<Item>(items: readonly Item[]): Item {
    return items[Math.floor(this.#random() * items.length)] as Item;
  }

  /** Mulberry32, 0 to below 1. */
  #random(): number {
    this.#seed = (this.#seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#seed ^ (this.#seed >>> 15), 1 | this.#seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
}
