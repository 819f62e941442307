import { useTranslation } from "react-i18next";
import { useApp } from "./AppContext";
import { formatLarge } from "./formatNumber";
import { ModelName, ModelPicker } from "./ModelPicker";

const LOCAL_HOSTS = new Set(["localhost", "127.0.0.1", "[::1]", "::1"]);

/** What this is: the product, the model, how big it is and where it runs. */
export function Masthead() {
  const { t } = useTranslation();
  const anatomy = useApp((state) => state.anatomy);
  const connection = useApp((state) => state.connection);
  const host = window.location.hostname;
  const { exported, damaged } = useApp((state) => ({
    exported: state.origin === "exported",
    damaged: state.damage !== null,
  }));
  const live = LOCAL_HOSTS.has(host) ? t("about.here") : t("about.server", { host });
  const place = exported ? t("exported.place") : live;
  return (
    <section className="masthead panel">
      <div className="masthead-row">
        <h1>{t("product")}</h1>
        {exported ? <ModelName /> : <ModelPicker />}
      </div>
      <p className="about" data-testid="about">
        {anatomy
          ? [anatomy.title, t("about.parameters", { size: formatLarge(anatomy.parameters) }), place].join(
              " · ",
            )
          : t(
              damaged
                ? "exported.unreadable"
                : connection === "connecting"
                  ? "connection.connecting"
                  : "about.none",
            )}
      </p>
      {anatomy?.refused && (
        <p className="hint hint-warning">{t("about.refused", { reason: anatomy.refused })}</p>
      )}
    </section>
  );
}
