import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

/** What each folder of src/ may import from; type imports count. Files at the top (main.tsx) may import anything. */
const MAY_IMPORT: Record<string, string[]> = {
  protocol: [],
  layout: ["protocol"],
  data: ["protocol", "layout"],
  state: ["protocol", "layout"],
  scene: ["protocol", "layout"],
  panels: ["state", "protocol", "layout", "guide", "styles"],
  guide: ["state", "protocol", "layout", "styles"],
  main: ["protocol", "layout", "data", "state", "scene", "panels", "guide", "styles"],
  styles: [],
};

/** Packages that belong to one part of the page: the scene knows no React, the panels no three.js. */
const ONLY_IN: [RegExp, string[]][] = [
  [/^(react|react-dom|react-i18next)(\/|$)/, ["panels", "guide", "main", ""]],
  [/^(three|@mapbox\/tiny-sdf)(\/|$)/, ["scene"]],
  [/^zarrita(\/|$)/, ["data"]],
];

const SRC = dirname(fileURLToPath(import.meta.url));
const IMPORT =
  /(?:^|\n)\s*(?:import|export)\s[^;'"]*?from\s*["']([^"']+)["']|(?:^|\n)\s*import\s*["']([^"']+)["']|import\(\s*["']([^"']+)["']\s*\)/g;

interface Import {
  file: string;
  folder: string;
  target: string;
}

function folderOf(path: string): string {
  const parts = relative(SRC, path).split(sep);
  return parts.length > 1 ? (parts[0] ?? "") : "";
}

function readImports(): Import[] {
  const files = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter((name) =>
    /\.tsx?$/.test(name),
  );
  return files
    .filter((name) => !/\.test\.tsx?$/.test(name))
    .flatMap((name) => {
      const text = readFileSync(join(SRC, name), "utf8");
      return [...text.matchAll(IMPORT)].map((match) => ({
        file: name,
        folder: folderOf(join(SRC, name)),
        target: match[1] ?? match[2] ?? match[3] ?? "",
      }));
    });
}

const imports = readImports();

test("the imports were found at all", () => {
  expect(imports.length).toBeGreaterThan(10);
});

test("folders import only downwards", () => {
  const wrong = imports
    .filter(({ folder, target }) => folder !== "" && target.startsWith("."))
    .filter(({ file, folder, target }) => {
      const into = folderOf(resolve(dirname(join(SRC, file)), target));
      return into !== folder && !(MAY_IMPORT[folder] ?? []).includes(into);
    });
  expect(wrong).toEqual([]);
});

test("the scene imports no React, the panels no three.js", () => {
  const wrong = imports.filter(({ folder, target }) =>
    ONLY_IN.some(([name, folders]) => name.test(target) && !folders.includes(folder)),
  );
  expect(wrong).toEqual([]);
});

test("layout is numbers only", () => {
  expect(imports.filter(({ folder, target }) => folder === "layout" && !target.startsWith("."))).toEqual([]);
});

test("every folder is named in the table above", () => {
  const folders = new Set(imports.map(({ folder }) => folder).filter((folder) => folder !== ""));
  expect([...folders].filter((folder) => !(folder in MAY_IMPORT))).toEqual([]);
});
