import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import react from "@vitejs/plugin-react";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

/** Where `npm run dev` finds the model server; the built page is served by that server itself. */
const server = process.env.GLASSFORMER_DEV_SERVER ?? "http://127.0.0.1:8000";

const BASE = "/llm/";

/** The mode in which everything goes into one file. */
const ONE_FILE = "one";

/** The best is 11: a tenth of the time for five per cent more bytes, on every `make run` after a change. */
const BROTLI_QUALITY = 9;

/** What the licences of everything in the page say. Fonts come by style sheets, which Vite does not look into. */
const LICENSES = "licenses.md";
const FONTS = ["@fontsource-variable/jetbrains-mono", "@fontsource-variable/source-sans-3"];

function withFontLicenses(): Plugin {
  return {
    name: "font-licenses",
    apply: "build",
    generateBundle: {
      order: "post",
      handler(_, bundle) {
        const found = bundle[LICENSES];
        if (found?.type !== "asset") throw new Error("the build has no licences");
        const texts = FONTS.map((font) => {
          const folder = join(import.meta.dirname, "node_modules", font);
          const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
          return `\n## ${font} - ${version} (${license})\n\n${readFileSync(join(folder, "LICENSE"), "utf8")}`;
        });
        found.source = String(found.source) + texts.join("");
      },
    },
  };
}

/** Writes a .br and a .gz beside every text file, so that the server compresses nothing while it serves. */
function compressed(): Plugin {
  let outDir = "";
  return {
    name: "compressed",
    apply: "build",
    configResolved(config) {
      outDir = join(config.root, config.build.outDir);
    },
    closeBundle() {
      for (const name of readdirSync(outDir, { recursive: true, encoding: "utf8" })) {
        if (!/\.(js|css|html|svg|json|wasm)$/.test(name)) continue;
        const content = readFileSync(join(outDir, name));
        writeFileSync(
          join(outDir, `${name}.br`),
          brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY } }),
        );
        writeFileSync(join(outDir, `${name}.gz`), gzipSync(content, { level: 9 }));
      }
    },
  };
}

/** Codecs of compressed chunks. An export's chunks are not compressed, and the codecs are larger than the page. */
const CODECS = ["blosc", "lz4", "zstd"].map((codec) => ({
  find: `numcodecs/${codec}`,
  replacement: join(import.meta.dirname, "src/data/noCodec.ts"),
}));

/** Puts scripts and styles into the page, which becomes `one.html`: what `glassformer export` writes data into. */
function oneFile(): Plugin {
  return {
    name: "one-file",
    apply: "build",
    generateBundle: {
      // Vite itself has to be done with the scripts.
      order: "post",
      handler(_, bundle) {
        const page = bundle["index.html"];
        if (page?.type !== "asset") throw new Error("the build has no page");
        let html = String(page.source);
        const tags = html.match(/<link[^>]*>|<script[^>]*><\/script>/g) ?? [];
        for (const file of Object.values(bundle)) {
          const tag = tags.find((each) => each.includes(`"${BASE}${file.fileName}"`));
          if (!tag) continue;
          // Inside a script or style only its end tag ends it, wherever that stands.
          const inside =
            file.type === "chunk"
              ? `<script type="module">${file.code.replaceAll("</script", "<\\/script")}</script>`
              : `<style>${String(file.source)}</style>`;
          html = html.replace(tag, () => inside);
        }
        const licenses = bundle[LICENSES];
        if (licenses?.type !== "asset") throw new Error("the build has no licences");
        html = html.replace("</head>", () => `<script type="text/plain">${licenses.source}</script></head>`);
        for (const name of Object.keys(bundle)) delete bundle[name];
        this.emitFile({ type: "asset", fileName: "one.html", source: html });
      },
    },
  };
}

export default defineConfig(({ mode }) => ({
  base: BASE,
  experimental: {
    // Files find each other by relative addresses, so that an export works from any folder; only the page itself is
    // served under two names, /llm and /llm/, and names its files in full. `glassformer export` rewrites those.
    renderBuiltUrl: (file, { hostType }) => (hostType === "html" ? `${BASE}${file}` : { relative: true }),
  },
  plugins: [react(), withFontLicenses(), mode === ONE_FILE ? oneFile() : compressed()],
  resolve: { alias: mode === ONE_FILE ? CODECS : [] },
  build: {
    outDir: "../glassformer/server/page",
    emptyOutDir: mode !== ONE_FILE,
    ...(mode === ONE_FILE && {
      assetsInlineLimit: Number.POSITIVE_INFINITY,
      cssCodeSplit: false,
      modulePreload: false,
      rolldownOptions: { output: { codeSplitting: false } },
    }),
    // Most licences want their text to go along with what is built of them.
    license: { fileName: LICENSES },
    target: "es2023",
    // three.js alone is larger than Vite's default of 500 kB; the budget is checked by bench/page.ts instead.
    chunkSizeWarningLimit: 1500,
  },
  server: {
    proxy: Object.fromEntries(
      ["/api", "/v1", "/health", "/ready", "/tokenize", "/config", "/generate"].map((path) => [
        path,
        { target: server, ws: path === "/api" },
      ]),
    ),
  },
  test: {
    include: ["src/**/*.test.{ts,tsx}"],
  },
}));
