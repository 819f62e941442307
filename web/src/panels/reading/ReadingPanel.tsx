import { useTranslation } from "react-i18next";
import { isSettled } from "../../state/selectors";
import { whatMattered } from "../../state/whatMattered";
import { useApp } from "../AppContext";
import { OffBadge } from "./OffBadge";
import { Pieces } from "./Pieces";
import { RideBar } from "./RideBar";
import { RideStart } from "./RideStart";
import { sayDecision, sayWithout } from "./sayDecision";
import { useTelling } from "./useTelling";
import { VersusChip } from "./VersusChip";

/** Under the picture: in one sentence what mattered for the word, and what was done about it. */
export function ReadingPanel() {
  const { t } = useTranslation();
  const { exists, chips, ride } = useApp(({ reading, versus, off, origin, ride }) => ({
    ride,
    // An export tells of what it holds; nothing else is coming there.
    exists: reading.value !== null || (origin === "live" && reading.status !== "empty"),
    chips: versus !== "mean" || off.length > 0,
  }));
  if (!exists) return null;
  return (
    <section
      className="reading panel"
      data-inset="bottom"
      data-testid="reading"
      aria-label={t("reading.title")}
    >
      {ride === null ? <Sentence /> : <RideBar stop={ride} />}
      {chips && (
        <div className="reading-chips">
          <VersusChip />
          <OffBadge />
        </div>
      )}
    </section>
  );
}

function Sentence() {
  const { t } = useTranslation();
  const telling = useTelling();
  const { reading, effects, without, loading, settled } = useApp((state) => ({
    reading: state.reading,
    // The answer before stays until the next is there, as the reading does.
    without: state.off.length > 0 ? state.without.value : null,
    loading: state.reading.status === "loading" || state.without.status === "loading",
    effects: state.effects,
    settled: isSettled(state),
  }));
  if (!reading.value) {
    const failed = reading.status === "failed" && reading.error;
    return (
      <p className="reading-line quiet" role="status">
        {failed ? t("reading.failed", { reason: failed }) : t("reading.coming")}
      </p>
    );
  }
  const what = whatMattered(reading.value, effects.value, effects.status === "ready");
  const testing = what.testing && settled && effects.status !== "failed";
  return (
    <div className="reading-row">
      <p
        className="reading-line"
        data-testid="reading-sentence"
        data-loading={loading}
        // A sentence that is still growing, or follows a text that is being written, is not read out at every change.
        aria-live={settled ? "polite" : "off"}
        aria-atomic="true"
        aria-busy={testing || loading}
      >
        {(without ? sayWithout(without, what, telling) : sayDecision(what, telling)).map((clause, at) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: a clause is its place in the sentence
          <span key={at} className="reading-clause">
            <Pieces pieces={clause} />{" "}
          </span>
        ))}
        {testing && <span className="reading-testing">{t("reading.testing")}</span>}
        {effects.status === "failed" && (
          <span className="quiet">{t("reading.stopped", { reason: effects.error })}</span>
        )}
      </p>
      <RideStart />
    </div>
  );
}
