import { useTranslation } from "react-i18next";

/** What the picture of a model without values shows: how many parameters each part holds. */
export function ShapeLegend() {
  const { t } = useTranslation();
  return (
    <section className="legend panel" data-testid="legend" aria-label={t("legend.title")}>
      <p className="legend-title">{t("shape.legend")}</p>
      <div className="legend-bar legend-etched" />
      <p className="legend-ends mono">
        <span>0</span>
        <span>{t("shape.legendMost")}</span>
      </p>
    </section>
  );
}
