import { type KeyboardEvent, useLayoutEffect, useMemo, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { shownPosition } from "../state/selectors";
import { useApp, useAppStore, useCommands } from "./AppContext";
import { Icon } from "./Icon";
import {
  buildOutline,
  isShowable,
  type OutlineNode,
  type OutlineRow,
  shownRow,
  visibleRows,
} from "./outlineNodes";
import { chooseTold, useReadingOutline } from "./reading/useReadingOutline";
import { useReturnFocus } from "./useReturnFocus";

export function OutlinePanel() {
  const { t } = useTranslation();
  const store = useAppStore();
  const close = () => store.setState(({ panels }) => ({ panels: { ...panels, outline: false } }));
  return (
    <section className="panel outline-panel" aria-label={t("outline.title")}>
      <header className="panel-header">
        <h2>{t("outline.title")}</h2>
        <button
          type="button"
          className="icon-button"
          aria-label={t("panel.collapse", { panel: t("outline.title") })}
          title={`${t("panel.collapse", { panel: t("outline.title") })} (O)`}
          onClick={close}
        >
          <Icon name="close" />
        </button>
      </header>
      <OutlineTree />
    </section>
  );
}

/** Everything the canvas shows, as a tree for keyboards and screen readers; a leaf opens in the inspector. */
export function OutlineTree() {
  const { t } = useTranslation();
  const anatomy = useApp((state) => state.anatomy);
  const selection = useApp((state) => state.selection);
  const parts = useMemo(() => anatomy && buildOutline(anatomy), [anatomy]);
  const told = useReadingOutline();
  const root = parts && told ? { ...parts, children: [...parts.children, told] } : parts;
  const isBeside = useApp((state) => state.shapes.length > 1);
  const [open, setOpen] = useState<ReadonlySet<string>>(
    () => new Set(["model", "before", "block.0", "after"]),
  );
  const [focused, setFocused] = useState<string>("model");
  const treeRef = useRef<HTMLDivElement>(null);
  const choose = useChoose();
  useReturnFocus();
  const rows = root ? visibleRows(root, open) : [];
  const selected = shownRow(rows, selection)?.node.id;
  useLayoutEffect(() => {
    // The inspector that opens takes half of the height.
    if (selected === undefined) return;
    const row = treeRef.current?.querySelector(`[data-node="${CSS.escape(selected)}"]`);
    row?.scrollIntoView({ block: "nearest" });
  }, [selected]);
  if (isBeside) return <p className="hint">{t("shape.outline")}</p>;
  if (!root) return <p className="hint">{t("outline.empty")}</p>;

  const setExpanded = (id: string, expanded: boolean) => {
    const next = new Set(open);
    if (expanded) next.add(id);
    else next.delete(id);
    setOpen(next);
  };
  const moveTo = (row: OutlineRow | undefined) => {
    if (!row) return;
    setFocused(row.node.id);
    treeRef.current?.querySelector<HTMLElement>(`[data-node="${CSS.escape(row.node.id)}"]`)?.focus();
  };
  const toggle = ({ id }: OutlineNode) => setExpanded(id, !open.has(id));
  const activate = (node: OutlineNode) => {
    if (!isShowable(node)) return toggle(node);
    choose(node);
    // Its heads are shown with it; the arrow keys and the chevron put them away.
    if (node.children.length > 0) setExpanded(node.id, true);
  };

  const onKeyDown = (event: KeyboardEvent) => {
    const at = rows.findIndex((row) => row.node.id === focused);
    const row = rows[at];
    if (!row) return;
    const isGroup = row.node.children.length > 0;
    const isOpen = open.has(row.node.id);
    if (event.key === "ArrowDown") moveTo(rows[at + 1]);
    else if (event.key === "ArrowUp") moveTo(rows[at - 1]);
    else if (event.key === "Home") moveTo(rows[0]);
    else if (event.key === "End") moveTo(rows.at(-1));
    else if (event.key === "ArrowRight" && isGroup && !isOpen) setExpanded(row.node.id, true);
    else if (event.key === "ArrowRight" && isGroup) moveTo(rows[at + 1]);
    else if (event.key === "ArrowLeft" && isGroup && isOpen) setExpanded(row.node.id, false);
    else if (event.key === "ArrowLeft") moveTo(rows.find((each) => each.node.id === row.parent));
    else if (event.key === "Enter" || event.key === " ") activate(row.node);
    else return;
    event.preventDefault();
  };

  const tabStop = rows.some((row) => row.node.id === focused) ? focused : "model";
  return (
    <div
      ref={treeRef}
      className="outline-tree"
      role="tree"
      aria-label={t("outline.label")}
      data-testid="outline"
      onKeyDown={onKeyDown}
    >
      {rows.map((row) => (
        <Row
          key={row.node.id}
          row={row}
          expanded={open.has(row.node.id)}
          selected={row.node.id === selected}
          tabStop={row.node.id === tabStop}
          onActivate={() => {
            setFocused(row.node.id);
            activate(row.node);
          }}
          onToggle={() => {
            setFocused(row.node.id);
            toggle(row.node);
          }}
        />
      ))}
    </div>
  );
}

interface RowProps {
  row: OutlineRow;
  expanded: boolean;
  selected: boolean;
  tabStop: boolean;
  onActivate: () => void;
  onToggle: () => void;
}

function Row({ row, expanded, selected, tabStop, onActivate, onToggle }: RowProps) {
  const { node, depth, position, siblings } = row;
  const isGroup = node.children.length > 0;
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the tree handles the keys of all its rows
    <div
      className="outline-row"
      role="treeitem"
      data-node={node.id}
      data-kind={node.kind}
      data-refused={node.refused || undefined}
      aria-level={depth}
      aria-posinset={position}
      aria-setsize={siblings}
      aria-expanded={isGroup ? expanded : undefined}
      aria-selected={selected}
      tabIndex={tabStop ? 0 : -1}
      style={{ "--depth": depth - 1 } as React.CSSProperties}
      onClick={({ target }) => (isGroup && (target as Element).closest(".icon") ? onToggle() : onActivate())}
    >
      {isGroup ? <Icon name="chevron" /> : <span className="outline-dot" />}
      <NodeLabel node={node} />
    </div>
  );
}

function NodeLabel({ node }: { node: OutlineNode }) {
  const { t } = useTranslation();
  const positions = useApp((state) => state.trace?.positions ?? null);
  const extent = node.extent.map(({ size }) => size ?? positions ?? "?").join(" × ");
  if (node.kind === "block") return <span>{t("outline.block", { index: node.label })}</span>;
  if (node.kind === "weights") return <span>{t("outline.weights")}</span>;
  if (node.kind === "part")
    return <span>{t(node.label === "before" ? "outline.before" : "outline.after")}</span>;
  if (node.kind === "model" || node.kind === "told") return <span>{node.label}</span>;
  if (node.lead)
    return (
      <span>
        {t(`axes.${node.lead.axis}` as "axes.head")} {node.lead.index}
      </span>
    );
  return (
    <>
      <span className="mono outline-name">{node.label}</span>
      <span className="mono quiet outline-extent">{extent}</span>
    </>
  );
}

/** Opens a site at the shown position, or a weight at its first cell, and shows where it stands. */
function useChoose(): (node: OutlineNode) => void {
  const store = useAppStore();
  const commands = useCommands();
  return (node) => {
    if (node.kind === "told") {
      store.setState((state) => chooseTold(state, node.id));
      return;
    }
    const position = shownPosition(store.getState()) ?? 0;
    const index = node.extent.map(({ axis }, at) =>
      axis === "pos" || axis === "query" ? position : at === 0 ? (node.lead?.index ?? 0) : 0,
    );
    const cell = { address: node.label, index };
    store.setState({ selection: cell, sheet: "inspector" });
    if (node.lead) commands.focus([node.label], cell);
    else commands.focus([node.label]);
  };
}
