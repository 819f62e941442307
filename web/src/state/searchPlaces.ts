import type { Cell } from "../layout/Cell";
import { isTokenAxis } from "../protocol/isTokenAxis";
import type { Site, Weight } from "../protocol/schema.generated";
import type { AppState } from "./AppState";
import { sayPoint } from "./sayName";
import { findSite, findWeight, shownPosition, weightsOf } from "./selectors";

/** Somewhere one can go: a block, a matrix, a cell of one, or a token of the text. */
export type Goal =
  | { kind: "block"; block: number; addresses: string[] }
  | { kind: "site" | "weight" | "cell"; cell: Cell; point: string | null }
  | { kind: "token"; position: number };

/** So many of each kind come before all others, so that a common word does not hide a kind. */
const FIRST = { site: 6, weight: 4, token: 5 };

/**
 * Where a query leads, the nearest first: to an address with indices (`z.3:1,5,0`), a block, a position by its number, and to
 * everything whose address or words hold each of its terms.
 */
export function searchPlaces(state: AppState, query: string): Goal[] {
  const { anatomy, trace } = state;
  const text = query.trim().toLowerCase();
  if (!anatomy || text === "") return [];
  const terms = text.split(/\s+/);
  const holds = (words: string) => terms.every((term) => words.toLowerCase().includes(term));
  const sites = [...anatomy.before, ...anatomy.blocks.flatMap((block) => block.sites), ...anatomy.after];
  const isAsked = (name: string) => name.toLowerCase().startsWith(text);
  const nameOf = (site: Site) =>
    `${site.address} ${sayPoint(site.point)} block ${blockOf(site.address) ?? ""}`;
  const asSite = (site: Site): Goal => ({ kind: "site", cell: firstCell(state, site), point: site.point });
  const asWeight = (weight: Weight): Goal => ({
    kind: "weight",
    cell: { address: weight.name, index: weight.axes.map(() => 0) },
    point: null,
  });
  const found = sites.filter((site) => holds(nameOf(site)));
  const blocks = anatomy.blocks.filter(({ index }) => `block ${index}` === text || String(index) === text);
  const tokens = (trace?.tokens ?? []).flatMap((token, position) =>
    String(position) === text || token.text.toLowerCase().includes(query.toLowerCase()) ? [position] : [],
  );
  const kinds: [Goal[], number][] = [
    [
      [
        ...found.filter((site) => isAsked(site.address)),
        ...found.filter((site) => !isAsked(site.address)),
      ].map(asSite),
      FIRST.site,
    ],
    [tokens.map((position): Goal => ({ kind: "token", position })), FIRST.token],
    [
      weightsOf(anatomy)
        .filter((weight) => holds(weight.name))
        .map(asWeight),
      FIRST.weight,
    ],
  ];
  return [
    ...cellOf(state, query.trim()),
    ...blocks.map(
      (block): Goal => ({
        kind: "block",
        block: block.index,
        addresses: block.sites.map((site) => site.address),
      }),
    ),
    ...kinds.flatMap(([goals, first]) => goals.slice(0, first)),
    ...kinds.flatMap(([goals, first]) => goals.slice(first)),
  ];
}

/** The block an address belongs to: its last number. */
export function blockOf(address: string): number | null {
  const block = address.match(/\.(\d+)$/)?.[1];
  return block === undefined ? null : Number(block);
}

/** A cell that is written out: an address and as many indices as it has axes. */
function cellOf({ anatomy }: AppState, query: string): Goal[] {
  const [, address = "", indices = ""] = query.match(/^(\S+?)(?::|\s+)\[?(\d+(?:[\s,]+\d+)*)\]?$/) ?? [];
  const index = indices.split(/[\s,]+/).map(Number);
  const found = findSite(anatomy, address) ?? findWeight(anatomy, address);
  if (found?.axes.length !== index.length) return [];
  return [{ kind: "cell", cell: { address, index }, point: findSite(anatomy, address)?.point ?? null }];
}

/** Where one lands in a matrix: at the position that is shown. */
function firstCell(state: AppState, { address, axes }: Site): Cell {
  const position = shownPosition(state) ?? 0;
  return { address, index: axes.map((axis) => (isTokenAxis(axis) ? position : 0)) };
}
