/** Revoking an address at once would take it from a browser that has not begun to read it. */
const KEPT_MS = 10_000;

/** Hands a file to the browser, which saves it as it saves any download. */
export function saveFile(name: string, content: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT_MS);
}
