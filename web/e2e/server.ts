import { type ChildProcess, spawn } from "node:child_process";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";

const START_TIMEOUT_MS = 120_000;
const STOP_TIMEOUT_MS = 15_000;

export const repository = fileURLToPath(new URL("../..", import.meta.url));
/** The Python that the package is installed for; `make` says which. */
export const python = process.env.GLASSFORMER_PYTHON ?? `${repository}.venv/bin/python`;
export const glassformer = join(dirname(python), "glassformer");

declare module "vitest" {
  interface ProvidedContext {
    serverUrl: string;
  }
}

export interface RunningServer {
  url: string;
  port: number;
  pid: number;
  /** Milliseconds from starting the process until it could serve the default model. */
  readyMs: number;
  stop(): Promise<void>;
}

/** Starts the real server, on a free port where none is given, and waits until its default model can serve. */
export async function startServer(
  options: string[] = [],
  headers: Record<string, string> = {},
  wantedPort?: number,
): Promise<RunningServer> {
  const port = wantedPort ?? (await findFreePort());
  const url = `http://127.0.0.1:${port}`;
  const startedAt = performance.now();
  const child = spawn(glassformer, ["serve", "--port", String(port), ...options], {
    cwd: repository,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, HF_HUB_OFFLINE: "1" },
  });
  let log = "";
  const remember = (chunk: Buffer) => {
    log = (log + chunk).slice(-20_000);
  };
  child.stdout.on("data", remember);
  child.stderr.on("data", remember);
  try {
    await waitUntilAnswered(`${url}/ready`, child, headers);
  } catch (error) {
    await stopProcess(child);
    throw new Error(`${(error as Error).message}\n${log}`);
  }
  return {
    url,
    port,
    pid: child.pid ?? 0,
    readyMs: performance.now() - startedAt,
    stop: () => stopProcess(child),
  };
}

/** Vitest's global setup: every spec file gets the address through `inject("serverUrl")`. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = await startServer();
  project.provide("serverUrl", server.url);
  return server.stop;
}

/** Waits for a 2xx from `address`, or throws as soon as the process behind it has ended. */
export async function waitUntilAnswered(
  address: string,
  child: ChildProcess,
  headers: Record<string, string> = {},
): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`The server ended with exit code ${child.exitCode}.`);
    const answer = await fetch(address, { headers }).catch(() => null);
    if (answer?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`The server was not ready within ${START_TIMEOUT_MS / 1000} s.`);
}

/** Asks the process to end (make passes that on to what it runs) and insists if it does not. */
export async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.kill("SIGTERM");
  const insist = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
  await ended;
  clearTimeout(insist);
}

export function findFreePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() => (address && typeof address === "object" ? resolve(address.port) : reject()));
    });
  });
}
