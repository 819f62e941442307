/**
 * Takes the README's picture again: `npm run screenshot`, with CHROMIUM set as `make e2e` does it.
 *
 * The page as it opens, at 1400 x 900.
 */
import { launchBrowser, openPage } from "./browser.ts";
import { waitForFullPicture } from "./drive.ts";
import { repository, startServer } from "./server.ts";

const server = await startServer();
const browser = await launchBrowser();
try {
  const { page } = await openPage(browser, server.url, { reducedMotion: true });
  await waitForFullPicture(page);
  await page.screenshot({ path: `${repository}docs/images/glassformer.png` });
} finally {
  await browser.close();
  await server.stop();
}
