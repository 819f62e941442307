import { useTranslation } from "react-i18next";
import type { Effect, Effects, Reading } from "../../protocol/schema.generated";
import type { Lit } from "../../state/AppState";
import { effectsOf, isNotable } from "../../state/whatMattered";
import { useApp, useAppStore } from "../AppContext";
import { cssGradient } from "../colourScale";

const MODES: Lit[] = ["worth", "adds"];

/** What the lights of the far view mean, and by what the parts are lit: tested worth, or what they add. */
export function FarLegend() {
  const { t } = useTranslation();
  const store = useAppStore();
  const { reading, effects, lit, theme, untested } = useApp((state) => ({
    reading: state.reading.value,
    effects: state.effects.value,
    lit: state.lit,
    theme: state.theme,
    untested: state.origin === "exported" && state.effects.value === null,
  }));
  const isWorth = lit === "worth";
  const notes = notesOf(reading, isWorth ? effects : null);
  return (
    <section
      className="legend legend-far panel"
      data-testid="far-legend"
      aria-label={t("reading.legend.title")}
    >
      <fieldset className="legend-modes" aria-label={t("reading.legend.lit")}>
        {MODES.map((mode) => (
          <button
            key={mode}
            type="button"
            className="legend-mode"
            aria-pressed={lit === mode}
            disabled={mode === "worth" && untested}
            title={t(mode === "worth" && untested ? "reading.legend.untested" : `reading.legend.${mode}Hint`)}
            onClick={() => store.setState({ lit: mode })}
          >
            {t(`reading.legend.${mode}`)}
          </button>
        ))}
      </fieldset>
      <p className="legend-title">{t(isWorth ? "reading.legend.losesTitle" : "reading.legend.addsTitle")}</p>
      <div className="legend-bar" style={{ background: cssGradient("diverging", theme) }} />
      <p className="legend-ends">
        <span>{t(isWorth ? "reading.legend.gains" : "reading.legend.takes")}</span>
        <span>{t(isWorth ? "reading.legend.loses" : "reading.legend.gives")}</span>
      </p>
      {notes.length > 0 && (
        <details className="legend-meaning">
          <summary>{t("reading.legend.more")}</summary>
          <ul className="legend-notes panel">
            {notes.map((note) => (
              <li key={note}>{t(`reading.legend.${note}`)}</li>
            ))}
          </ul>
        </details>
      )}
    </section>
  );
}

type Note = "words" | "text" | "arcs" | "whole" | "first";

/** What there is to explain in this picture. `effects` are those that light it. */
function notesOf(reading: Reading | null, effects: Effects | null): Note[] {
  const own = reading && effectsOf(reading, effects);
  const lights = (is: (part: Effect) => boolean) => own?.parts.some(is) ?? false;
  const told: Record<Note, boolean> = {
    words: (reading?.lens.length ?? 0) > 0,
    text: lights(({ kind }) => kind === "token"),
    arcs: (reading?.attention.length ?? 0) > 0,
    whole: lights(({ kind }) => kind === "attention"),
    first: lights((part) => part.kind === "mlp" && part.block === 0 && own !== null && isNotable(part, own)),
  };
  return (Object.keys(told) as Note[]).filter((note) => told[note]);
}
