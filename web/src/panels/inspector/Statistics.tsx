import { useTranslation } from "react-i18next";
import { type Jump, jumpFrom } from "../../state/jumpFrom";
import { useAppStore } from "../AppContext";
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
            {name === "min" || name === "max" ? (
              <JumpButton jump={name === "max" ? "largest" : "smallest"} text={formatNumber(numbers[name])} />
            ) : (
              formatNumber(numbers[name])
            )}
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

function JumpButton({ jump, text }: { jump: Jump; text: string }) {
  const { t } = useTranslation();
  const store = useAppStore();
  const go = () => {
    const selection = jumpFrom(store.getState(), jump);
    if (selection) store.setState({ selection });
  };
  return (
    <button
      type="button"
      className="operand mono"
      data-testid={jump}
      title={t(`inspector.jumps.${jump}`)}
      onClick={go}
    >
      {text}
      <span className="visually-hidden">. {t(`inspector.jumps.${jump}`)}</span>
    </button>
  );
}
