import { useTranslation } from "react-i18next";
import { useAppStore } from "../AppContext";
import { Icon } from "../Icon";
import { lazyPart } from "../lazyPart";
import { useReturnFocus } from "../useReturnFocus";

/** All heads at a glance; its content arrives when it is first asked for. */
export const HeadsView = lazyPart(() => import("./HeadsView"), { coming: () => <Coming /> });

function Coming() {
  const { t } = useTranslation();
  return <p className="hint">{t("heads.loading")}</p>;
}

/** The heads in a panel of their own. */
export function HeadsPanel() {
  const { t } = useTranslation();
  const store = useAppStore();
  useReturnFocus();
  return (
    <section className="panel heads-panel" data-testid="heads" aria-label={t("heads.title")}>
      <header className="panel-header">
        <h2>{t("heads.title")}</h2>
        <button
          type="button"
          className="icon-button"
          aria-label={t("heads.close")}
          title={`${t("heads.close")} (H)`}
          onClick={() => store.setState(({ panels }) => ({ panels: { ...panels, heads: false } }))}
        >
          <Icon name="close" />
        </button>
      </header>
      <div className="heads-body">
        <HeadsView />
      </div>
    </section>
  );
}
