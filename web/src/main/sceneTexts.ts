import i18next from "i18next";
import type { Title } from "../layout/LayoutTexts";
import { formatCount } from "../panels/formatNumber";
import type { SceneTexts } from "../scene/Scene";
import { sayName } from "../state/sayName";

/** What the picture says beside the model's own words, from the dictionary. */
export const sceneTexts: SceneTexts = {
  get leads() {
    return i18next.t("scene.leads");
  },
  instead: (word) => i18next.t("scene.instead", { word }),
  block: (index) => i18next.t("scene.names.block", { index }),
  site: sayName,
  head: (address, head) => i18next.t("scene.names.head", { address, head }),
  experts: (name, shown, count) => i18next.t("scene.names.experts", { name, shown, count }),
  because: (what, reason) => i18next.t("scene.names.because", { what, reason }),
  get unexplained() {
    return i18next.t("part.equationFails");
  },
  stream: (width) => titleOf("stream", { width: formatCount(width) }),
  mixing({ heads, attends, mixes }) {
    if (attends > 0 && mixes > 0) return titleOf("attentionAndMixer", { heads, attends, mixes });
    if (attends > 0) return titleOf("attention", { heads });
    return mixes > 0 ? titleOf("mixer", {}) : null;
  },
  mlps({ width, dense, experts, routed }) {
    const said = { width: formatCount(width), dense, experts, routed };
    if (dense > 0 && routed > 0) return titleOf("mlpAndMoe", said);
    if (dense > 0) return titleOf("mlp", said);
    return routed > 0 ? titleOf("moe", said) : null;
  },
};

type Named = "stream" | "attention" | "mixer" | "attentionAndMixer" | "mlp" | "moe" | "mlpAndMoe";

function titleOf(name: Named, values: Record<string, unknown>): Title {
  return {
    full: i18next.t(`scene.names.${name}`, values),
    short: i18next.t(`scene.names.${name}Short`),
  };
}
