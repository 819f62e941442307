import { useTranslation } from "react-i18next";
import { useApp, useAppStore } from "../AppContext";
import { Icon } from "../Icon";
import { formatShare } from "./formatShare";
import { plainText } from "./phrase";
import { sayPart } from "./sayDecision";
import { nameWord, sayInstead } from "./sayWord";
import { useTelling } from "./useTelling";

/** What is switched off, each with a cross to put it back, and what the model says then. */
export function OffBadge() {
  const { t } = useTranslation();
  const store = useAppStore();
  const telling = useTelling();
  const off = useApp((state) => state.off);
  if (off.length === 0) return null;
  const putBack = (part: string) =>
    store.setState((state) => ({ off: state.off.filter((each) => each !== part) }));
  return (
    <>
      <ul className="reading-off" data-testid="off" aria-label={t("reading.off.label")}>
        {off.map((part) => {
          const name = plainText(sayPart(part, telling));
          const label = t("reading.press.on", { part: name });
          return (
            <li key={part} className="reading-chip reading-chip-off">
              {t(part.startsWith("token.") ? "reading.off.hidden" : "reading.off.off", { part: name })}
              <button
                type="button"
                className="reading-cross"
                aria-label={label}
                title={label}
                onClick={() => putBack(part)}
              >
                <Icon name="close" />
              </button>
            </li>
          );
        })}
      </ul>
      {off.length > 1 && (
        <button type="button" className="reading-all" onClick={() => store.setState({ off: [] })}>
          {t("reading.off.all")}
        </button>
      )}
      <WithoutAnswer />
    </>
  );
}

/** The decision without them. */
function WithoutAnswer() {
  const telling = useTelling();
  const { t, specialIds } = telling;
  const { without, chosen } = useApp((state) => ({
    without: state.without,
    chosen: state.reading.value?.token,
  }));
  const { value, status, error } = without;
  if (status === "failed") return <p className="quiet">{t("reading.off.failed", { reason: error })}</p>;
  const best = value?.tokens[0];
  if (!value || !best || !chosen) return <p className="quiet">{t("reading.off.coming")}</p>;
  const share = formatShare(best.probability);
  const word = sayInstead(best, value.token, t, specialIds);
  return (
    <p data-testid="without" data-loading={status === "loading"} role="status">
      {best.id === value.token.id
        ? t("reading.off.still", { word, share })
        : t("reading.off.says", {
            word,
            share,
            chosen: nameWord(value.token, t, specialIds),
            chosenShare: formatShare(value.probability),
          })}
    </p>
  );
}
