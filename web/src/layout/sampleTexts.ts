import type { LayoutTexts } from "./LayoutTexts";

/** Plain words for tests: what is said is told by what it is said of. */
export const SAMPLE_TEXTS: LayoutTexts = {
  block: (index) => `block ${index}`,
  site: (address, _axes, lead) => (lead < 0 ? `words of ${address}` : `words of ${address}, ${lead}`),
  head: (address, head) => `${address} · head ${head}`,
  experts: (name, shown, count) => `${name} · ${shown} of ${count}`,
  because: (what, reason) => `${what}: ${reason}`,
  unexplained: "unexplained",
  stream: (width) => ({ full: `stream, ${width}`, short: "stream" }),
  mixing: (of) => ({ full: `mixing ${JSON.stringify(of)}`, short: "mixing" }),
  mlps: (of) => ({ full: `mlps ${JSON.stringify(of)}`, short: "mlps" }),
};
