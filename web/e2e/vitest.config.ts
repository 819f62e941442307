import { defineConfig } from "vitest/config";

/**
 * Browser tests: one server for all files, which run one after the other. Two at a time, each with a Chromium of its own, take
 * two thirds of the time on two cores, but then a frame comes so late that some tests see the picture before it.
 */
export default defineConfig({
  test: {
    include: ["e2e/**/*.spec.ts"],
    globalSetup: ["e2e/server.ts"],
    maxWorkers: 1,
    // Software rendering on two cores: a frame can take a second, the first one several.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // Once more, and reported as retried: a browser and a server share the cores with whatever else the machine does.
    retry: 1,
  },
});
