import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
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
  { name: /^(three|@mapbox\/tiny-sdf)(\/|$)/, rooms: ["scene"] },
  { name: /^(react|react-dom|react-i18next)(\/|$)/, rooms: ["panels", "guide", "main"] },
  { name: /^zarrita$/, rooms: ["data"] },
  { name: /^zustand/, rooms: ["state", "panels"] },
];

interface Import {
  file: string;
  room: string;
  target: string;
}

const imports = readdirSync(SOURCE, { recursive: true, encoding: "utf8" })
  .filter((file) => /\.tsx?$/.test(file) && !/\.test\.tsx?$/.test(file))
  .flatMap(readImports);

function readImports(file: string): Import[] {
  const text = readFileSync(join(SOURCE, file), "utf8");
  const targets = [...text.matchAll(/(?:from|import)\s*\(?\s*["']([^"']+)["']/g)].map(
    (match) => match[1] ?? "",
  );
  return targets.map((target) => ({ file, room: roomOf(file), target }));
}

function roomOf(file: string): string {
  const [room = ""] = file.split(/[/\\]/);
  return room === "main.tsx" ? "main" : room;
}

test("the imports were found, and every room is named above", () => {
  expect(imports.length).toBeGreaterThan(100);
  expect(imports.map(({ room }) => room).filter((room) => !(room in ALLOWED))).toEqual([]);
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

test("layout is numbers only", () => {
  expect(imports.filter(({ room, target }) => room === "layout" && !target.startsWith("."))).toEqual([]);
});
