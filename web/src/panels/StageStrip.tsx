import { useTranslation } from "react-i18next";
import type { Distribution } from "../protocol/schema.generated";
import { useApp } from "./AppContext";
import { formatCount } from "./formatNumber";
import type { FilterName } from "./stageRows";

interface StageStripProps {
  distribution: Distribution;
  shown: FilterName | null;
  onShow(filter: FilterName | null): void;
}

/** The filters that are on, in their order, each with how many tokens it leaves; one can be looked at alone. */
export function StageStrip({ distribution, shown, onShow }: StageStripProps) {
  const { t } = useTranslation();
  const vocab = useApp((state) => state.anatomy?.dimensions.vocab ?? null);
  return (
    <ol className="stages" aria-label={t("sampling.stages")}>
      <li>
        <StageButton
          name={t("sampling.allStages")}
          left={vocab}
          pressed={shown === null}
          hint={t("sampling.allStagesHint")}
          onPress={() => onShow(null)}
        />
      </li>
      {distribution.stages.map(({ filter, kept }) => (
        <li key={filter}>
          <StageButton
            name={t(`sampling.filters.${filter}`)}
            left={kept}
            pressed={shown === filter}
            hint={t("sampling.stageHint", {
              filter: t(`sampling.filters.${filter}`),
              number: formatCount(kept),
            })}
            onPress={() => onShow(shown === filter ? null : filter)}
          />
        </li>
      ))}
    </ol>
  );
}

interface StageButtonProps {
  name: string;
  left: number | null;
  pressed: boolean;
  hint: string;
  onPress(): void;
}

function StageButton({ name, left, pressed, hint, onPress }: StageButtonProps) {
  return (
    <button type="button" className="stage" aria-pressed={pressed} title={hint} onClick={onPress}>
      {name}
      {left !== null && <span className="mono">{formatCount(left)}</span>}
    </button>
  );
}
