import { useTranslation } from "react-i18next";
import { useApp, useCommands } from "./AppContext";

/** Says that the server is out of reach; nothing on screen is lost meanwhile. */
export function ConnectionNotice() {
  const { t } = useTranslation();
  const commands = useCommands();
  const lost = useApp((state) => state.connection === "lost");
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
