import { useTranslation } from "react-i18next";
import { formatExactly, formatNumber, formatPercent } from "../formatNumber";
import type { Description } from "./describeValues";

export function Statistics({ description }: { description: Description }) {
  const { t } = useTranslation();
  const { min, max, mean, std, norm, zeros, masked } = description;
  const numbers = { min, max, mean, std, norm };
  return (
    <dl className="statistics" aria-label={t("inspector.statistics")}>
      {(Object.keys(numbers) as (keyof typeof numbers)[]).map((name) => (
        <div key={name}>
          <dt>{t(`inspector.${name}`)}</dt>
          <dd className="mono" title={formatExactly(numbers[name])}>
            {formatNumber(numbers[name])}
          </dd>
        </div>
      ))}
      <div>
        <dt>{t("inspector.zeros")}</dt>
        <dd className="mono">{zeros === null ? "–" : formatPercent(zeros)}</dd>
      </div>
      {masked > 0 && (
        <div>
          <dt>{t("inspector.masked")}</dt>
          <dd className="mono">{formatPercent(masked / (masked + description.count))}</dd>
        </div>
      )}
    </dl>
  );
}
