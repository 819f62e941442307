import { useTranslation } from "react-i18next";
import { useApp } from "./AppContext";
import { cssGradient } from "./colourScale";
import { formatNumber } from "./formatNumber";

/** What the colours mean, for what is pointed at or selected; always visible. */
export function Legend() {
  const { t } = useTranslation();
  const legend = useApp((state) => state.legend ?? state.heatMapLegend);
  const theme = useApp((state) => state.theme);
  const scale = legend?.scale ?? "diverging";
  const limit = legend?.limit ?? null;
  const known = limit === null ? "" : formatNumber(limit, 2);
  return (
    <section className="legend panel" data-testid="legend" aria-label={t("legend.title")}>
      <p className="legend-title">
        <span>{t(`legend.${scale}`)}</span>
        {legend && <span className="mono quiet">{legend.address}</span>}
      </p>
      <div className="legend-bar" style={{ background: cssGradient(scale, theme) }} />
      <p className="legend-ends mono">
        <span>{scale === "diverging" ? `−${known}` : "0"}</span>
        {scale === "diverging" && <span>0</span>}
        <span>{scale === "diverging" ? `+${known}` : known}</span>
      </p>
    </section>
  );
}
