/**
 * Takes the README's picture again: `npm run screenshot`, with CHROMIUM set as `make e2e` does it.
 *
 * The far view of the real model at 1400 x 900, its parts all tested; MODEL_DIR and REAL_MODEL name its folder.
 */
import { launchBrowser, openPage } from "./browser.ts";
import { waitForState } from "./drive.ts";
import { repository, startServer } from "./server.ts";

const PROMPT = "The capital of France is Paris. The capital of Italy is Rome. The capital of Spain is";
const { MODEL_DIR, REAL_MODEL } = process.env;
if (!MODEL_DIR || !REAL_MODEL)
  throw new Error("Set MODEL_DIR and REAL_MODEL: a folder, and a model's name in it.");

const server = await startServer(["--model-dir", MODEL_DIR]);
const browser = await launchBrowser();
try {
  const path = `/llm/?model=${encodeURIComponent(REAL_MODEL)}&prompt=${encodeURIComponent(PROMPT)}`;
  const { page } = await openPage(browser, server.url, { path, reducedMotion: true });
  await waitForState(page, ({ effects, anatomy }) => {
    const tested = new Set(effects.value?.parts.map(({ block }) => block ?? null));
    return anatomy?.blocks.every((_, block) => tested.has(block)) ?? false;
  });
  await page.waitForTimeout(1_500);
  await page.screenshot({ path: `${repository}docs/images/glassformer.png` });
} finally {
  await browser.close();
  await server.stop();
}
