import { useTranslation } from "react-i18next";
import { useApp, useAppStore } from "../AppContext";
import { Icon } from "../Icon";
import { sayWord, specialIdsOf } from "./sayWord";
import { textOf } from "./useTelling";

/** The word that the decision is held against, with a cross that goes back to the average one. */
export function VersusChip() {
  const { t } = useTranslation();
  const store = useAppStore();
  const { versus, text, trace, distribution } = useApp((state) => ({
    versus: state.versus,
    text: textOf(state, state.versus),
    trace: state.trace,
    distribution: state.distribution,
  }));
  if (typeof versus !== "number") return null;
  const word =
    text === null
      ? t("prompt.token", { id: versus })
      : sayWord({ id: versus, text }, t, specialIdsOf({ trace, distribution }));
  return (
    <span className="reading-chip" data-testid="versus">
      {t("reading.versus", { word })}
      <button
        type="button"
        className="reading-cross"
        aria-label={t("reading.press.back")}
        title={t("reading.press.back")}
        onClick={() => store.setState({ versus: "mean" })}
      >
        <Icon name="close" />
      </button>
    </span>
  );
}
