import { useTranslation } from "react-i18next";
import { useApp, useCommands } from "./AppContext";

/** Says that the server is out of reach, or that the files of an export are damaged; what is on screen stays. */
export function ConnectionNotice() {
  const { t } = useTranslation();
  const commands = useCommands();
  const { lost, damage } = useApp(({ connection, damage }) => ({ lost: connection === "lost", damage }));
  if (damage !== null) {
    return (
      <div className="notice" role="alert" data-testid="error">
        <p>{t("exported.damaged", { damage })}</p>
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
