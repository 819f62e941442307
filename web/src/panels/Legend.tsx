import type { TFunction } from "i18next";
import { useTranslation } from "react-i18next";
import { LOG_SPAN } from "../layout/tone";
import type { LegendScale } from "../state/AppState";
import { useApp, useAppStore } from "./AppContext";
import { cssGradient } from "./colourScale";
import { formatNumber, formatPercent } from "./formatNumber";
import { Icon } from "./Icon";
import { FarLegend } from "./reading/FarLegend";
import { ShapeLegend } from "./ShapeLegend";

/** The share of the largest magnitude that a logarithmic scale shows at half brightness. */
const MIDDLE = (Math.sqrt(LOG_SPAN) - 1) / (LOG_SPAN - 1);
const STATES = ["zero", "masked", "absent", "coming", "failed", "broken", "infinite"] as const;

/** What the colours mean; always visible: of a matrix that is pointed at or selected, else of the far view. */
export function Legend() {
  const isFar = useApp(
    ({ reading, hover, selection, sceneState, isNear }) =>
      reading.value !== null && !isNear && !hover && !selection && sceneState === "drawn",
  );
  const isShape = useApp((state) => state.shapes.length > 0);
  if (isShape) return <ShapeLegend />;
  return isFar ? <FarLegend /> : <MatrixLegend />;
}

function MatrixLegend() {
  const { t } = useTranslation();
  const legend = useApp((state) => state.legend ?? state.heatMapLegend);
  const { theme, scaling } = useApp((state) => ({ theme: state.theme, scaling: state.scaling }));
  const scale = legend?.scale ?? "diverging";
  const known = legend === null ? "" : formatNumber(legend.limit, 2);
  const isSigned = scale !== "probability";
  return (
    <section className="legend panel" data-testid="legend" aria-label={t("legend.title")}>
      <div className="legend-title">
        <span>{t(`legend.${scale}`)}</span>
        {legend && <span className="mono quiet">{legend.address}</span>}
        <LegendMore />
      </div>
      <div className="legend-bar" style={{ background: cssGradient(scale, theme) }} />
      <p className="legend-ends mono">
        <span>{isSigned ? `−${known}` : "0"}</span>
        {isSigned && <span>0</span>}
        <span>{isSigned ? `+${known}` : known}</span>
      </p>
      <p className="legend-clip" data-testid="legend-clip">
        {sayClipped(legend, scaling.logarithmic, t)}
      </p>
    </section>
  );
}

/** What the scale leaves out. */
function sayClipped(legend: LegendScale | null, logarithmic: boolean, t: TFunction): string {
  if (!legend) return t("legend.unknown");
  const { limit, largest, clipped } = legend;
  if (logarithmic) return t("legend.logarithmic", { middle: formatNumber(limit * MIDDLE, 2) });
  if (clipped === 0) return t("legend.whole");
  return t("legend.clipped", { share: formatPercent(clipped), largest: formatNumber(largest, 2) });
}

/** How the scale is chosen, and what cells look like that no scale has a colour for. */
function LegendMore() {
  const { t } = useTranslation();
  const store = useAppStore();
  const scaling = useApp((state) => state.scaling);
  const change = (part: Partial<typeof scaling>) => store.setState({ scaling: { ...scaling, ...part } });
  const legend = useApp((state) => state.legend ?? state.heatMapLegend);
  return (
    <details className="legend-more">
      <summary aria-label={t("legend.more")} title={t("legend.more")} data-testid="legend-more">
        <Icon name="chevron" />
      </summary>
      <div className="legend-pop panel">
        <p className="quiet">{sayClipped(legend, scaling.logarithmic, t)}</p>
        <fieldset>
          <legend>{t("legend.scale")}</legend>
          {([false, true] as const).map((shared) => (
            <label key={String(shared)}>
              <input
                type="radio"
                name="scaling"
                checked={scaling.shared === shared}
                onChange={() => change({ shared })}
              />
              {t(shared ? "legend.shared" : "legend.each")}
            </label>
          ))}
          <label>
            <input
              type="checkbox"
              data-testid="legend-log"
              checked={scaling.logarithmic}
              onChange={(event) => change({ logarithmic: event.target.checked })}
            />
            {t("legend.log")}
          </label>
        </fieldset>
        <p className="legend-signs">{t("legend.signs")}</p>
        <ul>
          {STATES.map((state) => (
            <li key={state}>
              <span className="legend-sign" data-sign={state} />
              {t(`legend.states.${state}`)}
            </li>
          ))}
        </ul>
        <p className="quiet">{t("legend.pooled")}</p>
      </div>
    </details>
  );
}
