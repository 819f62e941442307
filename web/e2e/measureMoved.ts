import type { Browser, Page } from "playwright-core";
import type { AppState } from "../src/state/AppState";
import { openPage } from "./browser.ts";
import { readState, waitForFullPicture, waitForRest } from "./drive.ts";
import { median, probeFrames } from "./frameProbe.ts";

const MOVES = 9;

/** Medians over moves: until the picture is that of the other decision, and how many frames that took. */
interface Moved {
  ms: number;
  frames: number;
}

/** What moving the far view takes to the token before, to one elsewhere and to another word: none has been looked at before. */
export async function measureMoved(
  browser: Browser,
  url: string,
  query: string,
): Promise<{ step: Moved; position: Moved; word: Moved }> {
  const path = `/llm/?${query}`;
  const opened = await openPage(browser, url, { path, reducedMotion: true, prepare: probeFrames });
  const { page } = opened;
  await waitForFullPicture(page);
  const positions = await readState(page, (state) => state.trace?.positions ?? 0);
  const goTo = (places: number[]) =>
    moveThrough(
      page,
      places.map((position) => ({ position, versus: "mean" as const })),
    );
  const step = await goTo(Array.from({ length: MOVES }, (_, at) => positions - 2 - at));
  // By three: neither where somebody has been, nor what is read ahead of steps.
  const places = Array.from({ length: MOVES }, (_, at) => positions - 4 - MOVES - 3 * at).filter(
    (place) => place >= 0,
  );
  const position = await goTo(places);
  const words = await readState(page, (state) =>
    (state.distribution.value?.candidates ?? []).map(({ token }) => token.id),
  );
  const others = words.slice(1, 1 + MOVES);
  const word = await moveThrough(
    page,
    others.map((id) => ({ position: places.at(-1) ?? 0, versus: id })),
  );
  await opened.close();
  return { step, position, word };
}

async function moveThrough(
  page: Page,
  decisions: Required<Pick<AppState, "position" | "versus">>[],
): Promise<Moved> {
  const moves: Moved[] = [];
  for (const decision of decisions) {
    await waitForRest(page);
    moves.push(await page.evaluate(move, decision));
  }
  return { ms: median(moves.map(({ ms }) => ms)), frames: median(moves.map(({ frames }) => frames)) };
}

/** In the page: a frame counts once its pixels are there. */
async function move(decision: Pick<AppState, "position" | "versus">): Promise<Moved> {
  const { store } = window.glassformer;
  const countFrames = () => window.frameProbe?.costs.frames ?? 0;
  const [startedMs, first] = [performance.now(), countFrames()];
  store.setState(decision);
  const isThere = () => {
    const { reading } = store.getState();
    const { value } = reading;
    return (
      reading.status === "ready" && value?.position === decision.position && value.versus === decision.versus
    );
  };
  await new Promise<void>((resolve, reject) => {
    if (isThere()) return resolve();
    setTimeout(() => reject(new Error(`no reading of ${JSON.stringify(decision)}`)), 60_000);
    const leave = store.subscribe(() => {
      if (!isThere()) return;
      leave();
      resolve();
    });
  });
  for (const told = countFrames(); countFrames() === told; )
    await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  return { ms: performance.now() - startedMs, frames: countFrames() - first };
}
