import { useTranslation } from "react-i18next";
import { useApp, useAppStore, useCommands } from "./AppContext";
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
  const address = useApp((state) => state.selection?.address ?? null);
  useReturnFocus();
  if (address === null) return null;
  return (
    <section className="panel inspector" data-testid="inspector" aria-label={t("inspector.title")}>
      <header className="panel-header">
        <h2 className="mono inspector-address">{address}</h2>
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
