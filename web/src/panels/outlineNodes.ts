import type { Cell } from "../layout/Cell";
import { hasLeads } from "../layout/leads";
import type { Anatomy, Site, Weight } from "../protocol/schema.generated";

/** One line of the outline: a group, a site or weight that opens in the inspector, or something that is told. */
export interface OutlineNode {
  id: string;
  kind: "model" | "part" | "block" | "weights" | "site" | "lead" | "weight" | "told";
  /** The block's index, the address, the name, or what is told. */
  label: string;
  /** Named axes with their sizes; null stands for the recorded positions. */
  extent: { axis: string; size: number | null }[];
  refused: boolean;
  children: OutlineNode[];
  /** Of a lead: its matrix, by the index along the axis that it is one of. */
  lead?: { axis: string; index: number };
}

/** The anatomy as a tree, in order of computation. */
export function buildOutline(anatomy: Anatomy): OutlineNode {
  return group("model", "model", anatomy.title, [
    group("part", "before", "before", [
      ...anatomy.before.map(siteNode),
      ...weightsNode("model.weights", anatomy.weights),
    ]),
    ...anatomy.blocks.map((block) =>
      group("block", `block.${block.index}`, String(block.index), [
        ...block.sites.map(siteNode),
        ...weightsNode(`block.${block.index}.weights`, block.weights),
      ]),
    ),
    group("part", "after", "after", anatomy.after.map(siteNode)),
  ]);
}

function group(kind: OutlineNode["kind"], id: string, label: string, children: OutlineNode[]): OutlineNode {
  return { id, kind, label, extent: [], refused: false, children };
}

function siteNode(site: Site): OutlineNode {
  const extent = site.axes.map((axis, at) => ({ axis, size: site.shape[at] ?? null }));
  const refused = site.check.status === "refused";
  const node = {
    id: site.address,
    kind: "site" as const,
    label: site.address,
    extent,
    refused,
    children: [],
  };
  const [first] = extent;
  if (!hasLeads(site.axes) || refused || !first?.size) return node;
  // Each head has a matrix of its own, as in the picture.
  const children = Array.from({ length: first.size }, (_, index) => ({
    ...node,
    id: `${site.address}:${index}`,
    kind: "lead" as const,
    lead: { axis: first.axis, index },
  }));
  return { ...node, children };
}

function weightsNode(id: string, weights: Weight[]): OutlineNode[] {
  if (weights.length === 0) return [];
  return [
    group(
      "weights",
      id,
      "weights",
      weights.map((weight) => ({
        id: weight.name,
        kind: "weight",
        label: weight.name,
        extent: weight.axes.map((axis, at) => ({ axis, size: weight.shape[at] ?? null })),
        refused: false,
        children: [],
      })),
    ),
  ];
}

export interface OutlineRow {
  node: OutlineNode;
  parent: string | null;
  depth: number;
  position: number;
  siblings: number;
}

/** The rows that are visible when just these groups are open, top to bottom. */
export function visibleRows(root: OutlineNode, open: ReadonlySet<string>): OutlineRow[] {
  const rows: OutlineRow[] = [];
  const visit = (
    node: OutlineNode,
    parent: string | null,
    depth: number,
    position: number,
    siblings: number,
  ) => {
    rows.push({ node, parent, depth, position, siblings });
    if (!open.has(node.id)) return;
    for (const [at, child] of node.children.entries()) {
      visit(child, node.id, depth + 1, at + 1, node.children.length);
    }
  };
  visit(root, null, 1, 1, 1);
  return rows;
}

/** The row of what the inspector shows: that of its own matrix where it is visible, else that of the tensor. */
export function shownRow(rows: readonly OutlineRow[], cell: Cell | null): OutlineRow | undefined {
  if (!cell) return undefined;
  const own = rows.filter(({ node }) => isShowable(node) && node.label === cell.address);
  return own.find(({ node }) => node.lead?.index === cell.index[0]) ?? own.find(({ node }) => !node.lead);
}

/** Whether a row stands for something that can be looked at, not only for what is in it. */
export function isShowable({ kind }: OutlineNode): boolean {
  return kind === "site" || kind === "lead" || kind === "weight" || kind === "told";
}
