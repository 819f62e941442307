import { useTranslation } from "react-i18next";
import { isBusy } from "../state/selectors";
import { useApp, useCommands } from "./AppContext";

/** Says that the server is out of reach, or that the files of an export are damaged; what is on screen stays. */
export function ConnectionNotice() {
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
