import { defineConfig } from "vitest/config";

/** Browser tests: one server and one Chromium for all files, one file at a time. */
export default defineConfig({
  test: {
    include: ["e2e/**/*.spec.ts"],
    globalSetup: ["e2e/server.ts"],
    fileParallelism: false,
    // Software rendering on two cores: a frame can take a second, the first one several.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
