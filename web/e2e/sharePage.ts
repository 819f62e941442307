import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, inject } from "vitest";
import { launchBrowser, type OpenOptions, openPage, type WatchedPage } from "./browser.ts";
import { waitForFullPicture } from "./drive.ts";

/**
 * Opens the page before the tests of a file or a `describe`, which share it: opening one under software rendering
 * takes seconds. After each test the console has to be clean.
 */
export function sharePage(options: OpenOptions = {}): () => WatchedPage {
  let browser: Browser;
  let opened: WatchedPage;
  beforeAll(async () => {
    browser = await launchBrowser();
    opened = await openPage(browser, inject("serverUrl"), options);
    await waitForFullPicture(opened.page);
  });
  afterEach(() => {
    expect(opened.complaints.splice(0)).toEqual([]);
  });
  afterAll(() => browser.close());
  return () => opened;
}
