import { unzipSync } from "three/examples/jsm/libs/fflate.module.js";

/** The files of an export's `data/`, wherever they are. */
export interface ExportFiles {
  /** What their names are relative to. */
  readonly base: URL;
  /** Fails as `fetch` does; a file that is not there is a 404. */
  fetch(target: URL | Request, signal?: AbortSignal): Promise<Response>;
}

/** What `glassformer export --out story.html` writes the archive into. */
const ARCHIVE_ID = "glassformer-data";
/** Nobody's host: it is never asked. */
const INSIDE = new URL("https://export.invalid/data/");

/** Files that stand beside the page. */
export function filesBeside(base: URL): ExportFiles {
  return { base, fetch: (target, signal) => fetch(target, signal ? { signal } : {}) };
}

/** The archive that a page of one file carries, in base64, taken out of the document; null where it has none. */
export function findArchive(document: Document): string | null {
  const script = document.getElementById(ARCHIVE_ID);
  script?.remove();
  return script?.textContent ?? null;
}

/** Files of a ZIP archive in base64, unpacked once they are asked for. */
export function openArchive(base64: string): ExportFiles {
  let unpacked: Record<string, Uint8Array<ArrayBuffer>> | null = null;
  return {
    base: INSIDE,
    fetch: async (target, signal) => {
      signal?.throwIfAborted();
      unpacked ??= unzipSync(decodeBase64(base64)) as Record<string, Uint8Array<ArrayBuffer>>;
      const url = target instanceof URL ? target.href : target.url;
      const file = unpacked[decodeURIComponent(url.slice(INSIDE.href.length))];
      return file ? new Response(file) : new Response(null, { status: 404 });
    },
  };
}

function decodeBase64(text: string): Uint8Array {
  const packed = atob(text);
  const bytes = new Uint8Array(packed.length);
  for (let at = 0; at < packed.length; at += 1) bytes[at] = packed.charCodeAt(at);
  return bytes;
}
