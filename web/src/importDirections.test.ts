import { readdirSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { expect, test } from "vitest";

const SOURCE = import.meta.dirname;

/** Which rooms a room may look into, type imports included. `main` is main.tsx and the folder beside it. */
const ALLOWED: Record<string, string[]> = {
  protocol: [],
  layout: ["protocol"],
  scene: ["layout", "protocol"],
  data: ["layout", "protocol"],
  state: ["layout", "protocol"],
  guide: ["state", "protocol", "styles"],
  panels: ["state", "guide", "layout", "protocol", "styles"],
  main: ["panels", "scene", "data", "state", "layout", "protocol", "styles"],
};

/** Packages that only some rooms may use. */
const PACKAGES: { name: RegExp; rooms: string[] }[] = [
  // three.js brings a reader of archives along, which draws nothing.
  { name: /^(three|@mapbox\/tiny-sdf)(?!\/examples\/jsm\/libs\/fflate)(\/|$)/, rooms: ["scene"] },
  { name: /^(react|react-dom|react-i18next)(\/|$)/, rooms: ["panels", "guide", "main"] },
  { name: /^zarrita$/, rooms: ["data"] },
  { name: /^zustand/, rooms: ["state", "panels"] },
];

interface Import {
  file: string;
  room: string;
  target: string;
}

const files = readdirSync(SOURCE, { recursive: true, encoding: "utf8" }).filter(
  (file) => /\.tsx?$/.test(file) && !/\.test\.tsx?$/.test(file),
);
const imports = files.flatMap(readImports);

function readImports(file: string): Import[] {
  const text = readFileSync(join(SOURCE, file), "utf8");
  const targets = [...text.matchAll(/(?:from|import)\s*\(?\s*["']([^"']+)["']/g)].map(
    (match) => match[1] ?? "",
  );
  return targets.map((target) => ({ file, room: roomOf(file), target }));
}

/** What each file imports of the page's own source, type imports included. */
const edges = new Map<string, string[]>();
for (const { file, target } of imports) {
  const path = resolve(SOURCE, dirname(file), target);
  const found = [path, `${path}.ts`, `${path}.tsx`].find((name) => target.startsWith(".") && isFile(name));
  if (found) edges.set(file, [...(edges.get(file) ?? []), relative(SOURCE, found)]);
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

/** The files of one circle, the first of them again at its end; empty where there is none. */
function findCircle(edges: ReadonlyMap<string, readonly string[]>): string[] {
  const done = new Set<string>();
  const visit = (file: string, way: readonly string[]): string[] => {
    if (way.includes(file)) return [...way.slice(way.indexOf(file)), file];
    if (done.has(file)) return [];
    for (const next of edges.get(file) ?? []) {
      const circle = visit(next, [...way, file]);
      if (circle.length > 0) return circle;
    }
    done.add(file);
    return [];
  };
  for (const file of edges.keys()) {
    const circle = visit(file, []);
    if (circle.length > 0) return circle;
  }
  return [];
}

function roomOf(file: string): string {
  const [room = ""] = file.split(/[/\\]/);
  return room === "main.tsx" ? "main" : room;
}

test("the imports were found, and every room is named above", () => {
  expect(imports.length).toBeGreaterThan(100);
  expect(imports.map(({ room }) => room).filter((room) => !(room in ALLOWED))).toEqual([]);
  const own = imports.filter(({ target }) => target.startsWith("."));
  expect([...edges.values()].flat()).toHaveLength(own.length);
});

test("every room imports only from the rooms below it", () => {
  const wrong = imports.filter(({ file, room, target }) => {
    if (!target.startsWith(".")) return false;
    const other = roomOf(relative(SOURCE, resolve(SOURCE, dirname(file), target)));
    return other !== room && !ALLOWED[room]?.includes(other);
  });
  expect(wrong).toEqual([]);
});

test("the scene knows no React, the panels no three.js, and the store has one reader", () => {
  const wrong = imports.filter(
    ({ room, target }) =>
      !target.startsWith(".") &&
      PACKAGES.some(({ name, rooms }) => name.test(target) && !rooms.includes(room)),
  );
  expect(wrong).toEqual([]);
});

test("no file imports itself by way of others, type imports included", () => {
  expect(findCircle(edges)).toEqual([]);
});

test("a circle is found, and told from two ways to the same file", () => {
  const twoWays = new Map([
    ["a", ["b", "c"]],
    ["b", ["d"]],
    ["c", ["d"]],
  ]);
  expect(findCircle(twoWays)).toEqual([]);
  expect(findCircle(new Map([...twoWays, ["d", ["e", "b"]]]))).toEqual(["b", "d", "b"]);
});

test("every package that the page depends on is used by it", () => {
  const sources = readdirSync(SOURCE, { recursive: true, encoding: "utf8" })
    .filter((file) => /\.(tsx?|css)$/.test(file) && !/\.test\.tsx?$/.test(file))
    .map((file) => readFileSync(join(SOURCE, file), "utf8"));
  const { dependencies } = JSON.parse(readFileSync(join(SOURCE, "../package.json"), "utf8"));
  const isUsed = (name: string) => sources.some((text) => new RegExp(`["']~?${name}["'/]`).test(text));
  expect(Object.keys(dependencies).filter((name) => !isUsed(name))).toEqual([]);
});

test("layout is numbers only", () => {
  expect(imports.filter(({ room, target }) => room === "layout" && !target.startsWith("."))).toEqual([]);
});

test("no two files have the same name, and no two export the same one", () => {
  const fileNames = files.map((file) => basename(file).replace(/\..*/, "").toLowerCase());
  const exported = files
    .filter((file) => !file.endsWith(".generated.ts"))
    .flatMap((file) => {
      const text = readFileSync(join(SOURCE, file), "utf8");
      const found = text.matchAll(/^export (?:async )?(?:class|const|function|interface|type) (\w+)/gm);
      return [...found].map((match) => match[1] ?? "");
    });
  expect([repeated(fileNames), repeated(exported)]).toEqual([[], []]);
});

function repeated(names: readonly string[]): string[] {
  return names.filter((name, at) => names.indexOf(name) < at);
}
