/** The folder that the page's own address stands in on its host: `/`, or what a proxy puts before `/llm`. */
const PAGE = /^(.*?)\/llm(?:\/|$)/;

/** The full address of a path of the server ("/api/models"), beside the page wherever that is served. */
export function serverAddress(path: string, page: string = window.location.href): URL {
  const { pathname } = new URL(page);
  const folder = PAGE.exec(pathname)?.[1] ?? "";
  return new URL(folder + path, page);
}

/** The same for a WebSocket; older browsers take no relative address and no `http` there. */
export function socketAddress(path: string, page: string = window.location.href): URL {
  const address = serverAddress(path, page);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  return address;
}
