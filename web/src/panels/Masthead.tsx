import { useTranslation } from "react-i18next";
import type { Anatomy } from "../protocol/schema.generated";
import { AdapterSwitch } from "./AdapterSwitch";
import { useApp } from "./AppContext";
import { formatLarge } from "./formatNumber";
import { isLoopback } from "./isLoopback";
import { ModelName, ModelPicker } from "./ModelPicker";

/** What this is: the product, the model, how big it is and where it runs. */
export function Masthead() {
  const { t } = useTranslation();
  const anatomy = useApp((state) => state.anatomy);
  const connection = useApp((state) => state.connection);
  const { exported, damaged, opening, isShape } = useApp((state) => ({
    opening: state.opening?.modelId ?? null,
    exported: state.origin === "exported",
    damaged: state.damage !== null,
    isShape: state.shapes.length > 0,
  }));
  return (
    <section className="masthead panel">
      <div className="masthead-row">
        <h1>{t("product")}</h1>
        {exported ? <ModelName /> : <ModelPicker />}
      </div>
      <AdapterSwitch />
      <p className="about" data-testid="about">
        {anatomy ? (
          <AboutModel anatomy={anatomy} exported={exported} />
        ) : damaged ? (
          t("exported.unreadable")
        ) : opening ? (
          t("about.opening", { model: opening })
        ) : (
          t(connection === "connecting" ? "connection.connecting" : "about.none")
        )}
      </p>
      {anatomy?.refused && !isShape && (
        <p className="hint hint-warning">{t("about.refused", { reason: anatomy.refused })}</p>
      )}
    </section>
  );
}

/** One line for whoever has never seen this: that it is a language model, how big it is, and where it runs. */
function AboutModel({ anatomy, exported }: { anatomy: Anatomy; exported: boolean }) {
  const { t } = useTranslation();
  const shapes = useApp((state) => state.shapes.length);
  if (shapes > 1) return t("shape.aboutBeside", { models: anatomy.title });
  if (shapes === 1) {
    return (
      <>
        <strong>{anatomy.title}</strong>{" "}
        {t("shape.about", { size: formatLarge(anatomy.parameters), count: anatomy.dimensions.blocks })}
      </>
    );
  }
  const host = window.location.hostname;
  const here = isLoopback(host) ? t("about.here") : t("about.server", { host });
  return (
    <>
      <strong>{anatomy.title}</strong>{" "}
      {t("about.model", {
        size: formatLarge(anatomy.parameters),
        count: anatomy.blocks.length,
        place: exported ? t("exported.place") : here,
      })}
    </>
  );
}
