import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import react from "@vitejs/plugin-react";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

/** Where `npm run dev` finds the model server; the built page is served by that server itself. */
const server = process.env.GLASSFORMER_DEV_SERVER ?? "http://127.0.0.1:8000";

const BASE = "/llm/";

/** The best is 11: a tenth of the time for five per cent more bytes, on every `make run` after a change. */
const BROTLI_QUALITY = 9;

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

export default defineConfig({
  base: BASE,
  experimental: {
    // Files find each other by relative addresses, so that an export works from any folder; only the page itself is
    // served under two names, /llm and /llm/, and names its files in full. `glassformer export` rewrites those.
    renderBuiltUrl: (file, { hostType }) => (hostType === "html" ? `${BASE}${file}` : { relative: true }),
  },
  plugins: [react(), compressed()],
  build: {
    outDir: "../glassformer/server/page",
    emptyOutDir: true,
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
});
