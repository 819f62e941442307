import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

/** Where `npm run dev` finds the model server; the built page is served by that server itself. */
const server = process.env.GLASSFORMER_DEV_SERVER ?? "http://127.0.0.1:8000";

export default defineConfig({
  base: "/llm/",
  plugins: [react()],
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
