import type { KeyboardEvent } from "react";
import { useTranslation } from "react-i18next";
import { type Jump, jumpFrom } from "../state/jumpFrom";
import { useApp, useAppStore, useCommands } from "./AppContext";
import { Breadcrumbs } from "./Breadcrumbs";
import { Icon } from "./Icon";
import { lazyPart } from "./lazyPart";
import { useReturnFocus } from "./useReturnFocus";

const Inspector = lazyPart(() => import("./inspector/Inspector"), { coming: () => <Coming /> });

function Coming() {
  const { t } = useTranslation();
  return <p className="hint">{t("inspector.loading")}</p>;
}

/** The frame of the inspector; its content arrives with the first click. */
export function InspectorPanel() {
  const { t } = useTranslation();
  const store = useAppStore();
  const commands = useCommands();
  const selection = useApp((state) => state.selection);
  useReturnFocus();
  /** Letters that lead from a cell to another one, wherever in the inspector the focus is. */
  const onKeyDown = (event: KeyboardEvent) => {
    const isField = (event.target as HTMLElement).matches("select, input");
    if (isField || event.ctrlKey || event.metaKey || event.altKey) return;
    const jumps: Record<string, Jump> = {
      m: "largest",
      n: "smallest",
      b: event.shiftKey ? "previousBlock" : "nextBlock",
    };
    const jump = jumps[event.key.toLowerCase()];
    const there = jump && jumpFrom(store.getState(), jump);
    if (!there) return;
    event.preventDefault();
    store.setState({ selection: there });
  };
  if (selection === null) return null;
  const { address } = selection;
  return (
    <section
      className="panel inspector"
      data-testid="inspector"
      aria-label={t("inspector.title")}
      onKeyDown={onKeyDown}
    >
      <header className="panel-header">
        <h2 className="visually-hidden">{address}</h2>
        <Breadcrumbs cell={selection} />
        <button
          type="button"
          className="icon-button"
          title={t("inspector.focus")}
          aria-label={t("inspector.focus")}
          onClick={() => commands.focus([address])}
        >
          <Icon name="target" />
        </button>
        <button
          type="button"
          className="icon-button"
          data-testid="inspector-close"
          title={`${t("inspector.close")} (Esc)`}
          aria-label={t("inspector.close")}
          onClick={() => store.setState({ selection: null })}
        >
          <Icon name="close" />
        </button>
      </header>
      <Inspector />
    </section>
  );
}
