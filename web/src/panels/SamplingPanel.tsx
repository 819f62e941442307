import { useId } from "react";
import { useTranslation } from "react-i18next";
import type { Sampling } from "../protocol/schema.generated";
import { useApp, useAppStore } from "./AppContext";
import { DistributionChart } from "./DistributionChart";
import { NumberField } from "./NumberField";
import { Panel } from "./Panel";

const LARGEST_TEMPERATURE = 2;
const LARGEST_TOP_K = 100;

/** In the order in which they apply; `off` is where they do nothing. */
const MORE_CONTROLS = [
  { name: "repetition_penalty", off: 1, min: 0.5, max: 2, step: 0.05 },
  { name: "presence_penalty", off: 0, min: -2, max: 2, step: 0.1 },
  { name: "frequency_penalty", off: 0, min: -2, max: 2, step: 0.1 },
  { name: "min_p", off: 0, min: 0, max: 1, step: 0.01 },
  { name: "typical_p", off: 1, min: 0.01, max: 1, step: 0.01 },
] as const;

export function SamplingPanel() {
  const { t } = useTranslation();
  return (
    <Panel name="sampling" title={t("sampling.title")}>
      <SamplingForm />
    </Panel>
  );
}

/** How the next token is drawn, and what that does to the distribution. */
export function SamplingForm() {
  const { t } = useTranslation();
  const exported = useApp((state) => state.origin === "exported");
  return (
    <div className="sampling-form">
      <fieldset
        className="controls"
        disabled={exported}
        title={exported ? t("exported.sampling") : undefined}
      >
        <SamplingControls />
      </fieldset>
      <DistributionChart />
    </div>
  );
}

function SamplingControls() {
  const { t } = useTranslation();
  const store = useAppStore();
  const { sampling, exported } = useApp((state) => ({
    sampling: state.sampling,
    exported: state.origin === "exported",
  }));
  // A filter that was off had no part in a saved recording, and cannot be put on now.
  const isShown = (isOn: boolean) => isOn || !exported;
  const change = (part: Partial<Sampling>) =>
    store.setState((state) => ({ sampling: { ...state.sampling, ...part } }));
  return (
    <div className="sampling-controls">
      <Slider
        label={t("sampling.temperature")}
        hint={t("sampling.temperatureHint")}
        testId="temperature"
        max={LARGEST_TEMPERATURE}
        step={0.05}
        value={sampling.temperature}
        text={sampling.temperature.toFixed(2)}
        onChange={(temperature) => change({ temperature })}
      />
      {isShown(sampling.top_k !== 0) && (
        <Slider
          label={t("sampling.topK")}
          hint={t("sampling.topKHint")}
          testId="top-k"
          max={LARGEST_TOP_K}
          step={1}
          value={sampling.top_k}
          text={sampling.top_k === 0 ? t("sampling.off") : String(sampling.top_k)}
          onChange={(top_k) => change({ top_k })}
        />
      )}
      {isShown(sampling.top_p !== 1) && (
        <Slider
          label={t("sampling.topP")}
          hint={t("sampling.topPHint")}
          testId="top-p"
          min={0.01}
          max={1}
          step={0.01}
          value={sampling.top_p}
          text={sampling.top_p === 1 ? t("sampling.off") : sampling.top_p.toFixed(2)}
          onChange={(top_p) => change({ top_p })}
        />
      )}
      <SeedField seed={sampling.seed} onChange={(seed) => change({ seed })} />
      {isShown(countOn(sampling) > 0) && <MoreControls sampling={sampling} change={change} />}
    </div>
  );
}

interface MoreControlsProps {
  sampling: Sampling;
  change(part: Partial<Sampling>): void;
}

/** What few people touch, folded away; how much of it is on can be seen from outside. */
function MoreControls({ sampling, change }: MoreControlsProps) {
  const { t } = useTranslation();
  const count = countOn(sampling);
  return (
    <details className="sampling-more" data-testid="sampling-more">
      <summary>
        {t("sampling.more")}
        {count > 0 && <span className="quiet"> · {t("sampling.moreOn", { number: count })}</span>}
      </summary>
      {MORE_CONTROLS.map(({ name, off, ...range }) => (
        <Slider
          key={name}
          label={t(`sampling.controls.${name}`)}
          hint={t(`sampling.controlHints.${name}`)}
          testId={name}
          {...range}
          value={sampling[name]}
          text={sampling[name] === off ? t("sampling.off") : formatSetting(sampling[name])}
          onChange={(value) => change({ [name]: value })}
        />
      ))}
    </details>
  );
}

function countOn(sampling: Sampling): number {
  return MORE_CONTROLS.filter(({ name, off }) => sampling[name] !== off).length;
}

/** With real minus signs, as everywhere. */
function formatSetting(value: number): string {
  return value.toFixed(2).replace("-", "\u2212");
}

interface SliderProps {
  label: string;
  hint: string;
  testId: string;
  min?: number;
  max: number;
  step: number;
  value: number;
  text: string;
  onChange: (value: number) => void;
}

function Slider({ label, hint, testId, min = 0, max, step, value, text, onChange }: SliderProps) {
  const id = useId();
  const filled = ((Math.min(value, max) - min) / (max - min)) * 100;
  return (
    <div className="slider" title={hint}>
      <label htmlFor={id}>{label}</label>
      <input
        id={id}
        data-testid={testId}
        type="range"
        min={min}
        max={max}
        step={step}
        value={value}
        aria-valuetext={text}
        style={{ "--filled": `${filled}%` } as React.CSSProperties}
        onChange={(event) => onChange(event.target.valueAsNumber)}
      />
      <output htmlFor={id} className="mono">
        {text}
      </output>
    </div>
  );
}

function SeedField({ seed, onChange }: { seed: number | null; onChange: (seed: number | null) => void }) {
  const { t } = useTranslation();
  const id = useId();
  return (
    <div className="slider" title={t("sampling.seedHint")}>
      <label htmlFor={id}>{t("sampling.seed")}</label>
      <NumberField
        id={id}
        data-testid="seed"
        className="input mono seed"
        min={0}
        max={Number.MAX_SAFE_INTEGER}
        clearable
        placeholder={t("sampling.random")}
        value={seed}
        onValue={onChange}
      />
    </div>
  );
}
