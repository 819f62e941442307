import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";

/** Software WebGL, so that the tests need no GPU; nothing that talks to the network by itself. */
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--use-gl=angle",
  "--use-angle=swiftshader",
  "--enable-unsafe-swiftshader",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export function launchBrowser(flags: string[] = []): Promise<Browser> {
  const executablePath = process.env.CHROMIUM;
  if (!executablePath) throw new Error("Set CHROMIUM to the path of a Chromium; 'make e2e' does.");
  return chromium.launch({ executablePath, args: [...FLAGS, ...flags], chromiumSandbox: false });
}

declare global {
  interface Window {
    /** Requests that no answer has come to yet; streams that have begun do not count. */
    unanswered?: number;
  }
}

/** Runs in the page before its own code. */
function countUnanswered(): void {
  const { fetch } = window;
  window.unanswered = 0;
  window.fetch = async (...given) => {
    window.unanswered = (window.unanswered ?? 0) + 1;
    try {
      return await fetch(...given);
    } finally {
      window.unanswered -= 1;
    }
  };
}

export interface OpenOptions {
  width?: number;
  height?: number;
  theme?: "dark" | "light";
  reducedMotion?: boolean;
  path?: string;
  /** Runs in the page, and in every frame of it, before its own code: for what a browser lacks or forbids. */
  prepare?: () => void;
  /** Called with the address and method of every request. */
  onRequest?: (url: string, method: string) => void;
}

/** Compressed, headers included: the page's own files, and the numbers it asked the server for. */
export interface TransferredBytes {
  assets: number;
  data: number;
}

/** A page under watch: what it complained about and how many bytes came over the wire for it. */
export interface WatchedPage {
  page: Page;
  complaints: string[];
  transferredBytes(): TransferredBytes;
  close(): Promise<void>;
}

export async function openPage(
  browser: Browser,
  serverUrl: string,
  options: OpenOptions = {},
): Promise<WatchedPage> {
  const context: BrowserContext = await browser.newContext({
    viewport: { width: options.width ?? 1400, height: options.height ?? 900 },
    colorScheme: options.theme ?? "dark",
    reducedMotion: options.reducedMotion ? "reduce" : "no-preference",
  });
  const page = await context.newPage();
  await page.addInitScript(countUnanswered);
  if (options.prepare) await page.addInitScript(options.prepare);
  const complaints = listenForComplaints(page);
  page.on("request", (request) => options.onRequest?.(request.url(), request.method()));
  const transferredBytes = await countTransferredBytes(page);
  await page.goto(`${serverUrl}${options.path ?? "/llm/"}`, { waitUntil: "load" });
  return { page, complaints, transferredBytes, close: () => context.close() };
}

function listenForComplaints(page: Page): string[] {
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") {
      // Chromium itself warns that reading pixels back stalls a software GPU; that is this test, not the page.
      if (message.text().includes("GPU stall due to ReadPixels")) return;
      // Told below with its address.
      if (message.text().startsWith("Failed to load resource")) return;
      complaints.push(`${message.type()}: ${message.text()}`);
    }
  });
  page.on("pageerror", (error) => complaints.push(`uncaught: ${error.message}`));
  page.on("response", (response) => {
    if (response.status() >= 400) complaints.push(`${response.status()}: ${response.url()}`);
  });
  page.on("requestfailed", (request) => {
    // The page gives up requests that a newer one replaces; only failures it did not ask for count.
    const reason = request.failure()?.errorText ?? "";
    if (reason !== "net::ERR_ABORTED") complaints.push(`request: ${request.url()} ${reason}`);
  });
  return complaints;
}

async function countTransferredBytes(page: Page): Promise<() => TransferredBytes> {
  const session = await page.context().newCDPSession(page);
  await session.send("Network.enable");
  const paths = new Map<string, string>();
  const bytes: TransferredBytes = { assets: 0, data: 0 };
  session.on("Network.requestWillBeSent", (event) => {
    paths.set(event.requestId, new URL(event.request.url).pathname);
  });
  session.on("Network.loadingFinished", (event) => {
    const kind = paths.get(event.requestId)?.startsWith("/llm") ? "assets" : "data";
    bytes[kind] += event.encodedDataLength;
  });
  return () => ({ ...bytes });
}
