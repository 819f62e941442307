import { type ReactNode, useId } from "react";
import { useTranslation } from "react-i18next";
import type { PanelName } from "../state/AppState";
import { useApp, useAppStore } from "./AppContext";
import { Icon } from "./Icon";

interface PanelProps {
  name: PanelName;
  title: string;
  /** Beside the title, also while collapsed. */
  aside?: ReactNode;
  testId?: string;
  children: ReactNode;
}

/** A titled panel that collapses to its title and remembers it. */
export function Panel({ name, title, aside, testId, children }: PanelProps) {
  const { t } = useTranslation();
  const store = useAppStore();
  const open = useApp((state) => state.panels[name]);
  const bodyId = useId();
  const toggle = () => store.setState(({ panels }) => ({ panels: { ...panels, [name]: !open } }));
  return (
    <section className="panel" data-open={open} data-testid={testId} aria-label={title}>
      <header className="panel-header">
        <h2>
          <button
            type="button"
            className="panel-toggle"
            aria-expanded={open}
            aria-controls={bodyId}
            title={t(open ? "panel.collapse" : "panel.expand", { panel: title })}
            onClick={toggle}
          >
            <Icon name="chevron" />
            {title}
          </button>
        </h2>
        {aside}
      </header>
      <div id={bodyId} className="panel-body" hidden={!open}>
        {open && children}
      </div>
    </section>
  );
}
