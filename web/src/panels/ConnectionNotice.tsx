import type { TFunction } from "i18next";
import { useTranslation } from "react-i18next";
import type { LinkFault } from "../state/AppState";
import { isBusy } from "../state/selectors";
import { useApp, useAppStore, useCommands } from "./AppContext";
import { Icon } from "./Icon";

/** Says that the server is out of reach, or that the files of an export are damaged; what is on screen stays. */
export function ConnectionNotice() {
  return (
    <>
      <ServerNotice />
      <LinkNotice />
    </>
  );
}

/** What of a link could not be shown; the rest of it is. */
function LinkNotice() {
  const { t } = useTranslation();
  const store = useAppStore();
  const fault = useApp((state) => state.linkFault);
  if (!fault) return null;
  return (
    <div className="notice" role="alert" data-testid="link-fault">
      <p>{describeFault(fault, t)}</p>
      <button
        type="button"
        className="icon-button"
        aria-label={t("model.dismiss")}
        title={t("model.dismiss")}
        onClick={() => store.setState({ linkFault: null })}
      >
        <Icon name="close" />
      </button>
    </div>
  );
}

function describeFault(fault: LinkFault, t: TFunction): string {
  switch (fault.key) {
    case "unread":
      return t("link.unread", fault);
    case "position":
      return t("link.position", fault);
    case "recording":
      return t("link.recording", fault);
  }
}

function ServerNotice() {
  const { t } = useTranslation();
  const commands = useCommands();
  const { lost, damage, forgotten, seed, busy } = useApp((state) => ({
    lost: state.connection === "lost",
    damage: state.damage,
    forgotten: state.forgotten,
    seed: state.drawnSeed,
    busy: isBusy(state),
  }));
  if (damage !== null) {
    return (
      <div className="notice" role="alert" data-testid="error">
        <p>{t("exported.damaged", { damage })}</p>
      </div>
    );
  }
  if (forgotten && !lost) {
    return (
      <div className="notice" role="alert" data-testid="forgotten">
        <p>{t(seed === null ? "connection.forgotten" : "connection.forgottenText", { seed })}</p>
        <button
          type="button"
          className="button"
          data-testid="run-again"
          disabled={busy}
          title={t("connection.againHint")}
          onClick={commands.runAgain}
        >
          {t("connection.again")}
        </button>
      </div>
    );
  }
  if (!lost) return null;
  return (
    <div className="notice" role="alert" data-testid="error">
      <p>{t("connection.lost")}</p>
      <button type="button" className="button" onClick={commands.reconnect}>
        {t("connection.retry")}
      </button>
    </div>
  );
}
