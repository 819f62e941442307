import { type ReactNode, useEffect, useId, useRef } from "react";
import { useTranslation } from "react-i18next";
import { countRun, isBusy, whyNotRun } from "../state/selectors";
import { useApp, useAppStore, useCommands } from "./AppContext";
import { formatCount } from "./formatNumber";
import { NumberField } from "./NumberField";
import { Panel } from "./Panel";
import { PromptTokens } from "./PromptTokens";
import { RunStatus } from "./RunStatus";
import { WrittenText } from "./WrittenText";

const MAX_NEW_TOKENS = 4096;

export function PromptPanel() {
  const { t } = useTranslation();
  return (
    <Panel name="prompt" title={t("prompt.title")} aside={<TokenCount />}>
      <PromptForm />
    </Panel>
  );
}

/** The prompt box, its tokens and what can be done with them. `count` stands beside the status, where no title carries it. */
export function PromptForm({ count }: { count?: ReactNode }) {
  const exported = useApp((state) => state.origin === "exported");
  if (exported) return <ExportedPrompt count={count} />;
  return (
    <div className="prompt-form">
      <SamplePrompts />
      <PromptBox />
      <PromptTokens />
      <RunButtons />
      <div className="status-row">
        <RunStatus />
        {count}
      </div>
      <WrittenText />
    </div>
  );
}

/** Of an export: what was read, and where a prompt of one's own can be run. */
function ExportedPrompt({ count }: { count?: ReactNode }) {
  const { t } = useTranslation();
  const prompt = useApp((state) => state.prompt);
  return (
    <div className="prompt-form">
      <p className="exported-prompt" dir="auto" data-testid="prompt">
        {prompt}
      </p>
      <PromptTokens />
      <div className="status-row">
        <RunStatus />
        {count}
      </div>
      <WrittenText />
      <p className="hint">
        {t("exported.own")} <code className="install mono">pip install glassformer</code>
      </p>
    </div>
  );
}

export function TokenCount() {
  const { t } = useTranslation();
  const { count, stale, context } = useApp((state) => ({
    count: countRun(state),
    stale: state.liveTokens.prompt !== state.prompt,
    context: state.anatomy?.dimensions.context ?? null,
  }));
  if (count === null) return null;
  return (
    <span className="aside mono" data-stale={stale}>
      <span data-testid="token-count">{t("prompt.count", { count })}</span>
      {context !== null && ` ${t("prompt.context", { size: formatCount(context) })}`}
    </span>
  );
}

function PromptBox() {
  const { t } = useTranslation();
  const store = useAppStore();
  const prompt = useApp((state) => state.prompt);
  const ref = useRef<HTMLTextAreaElement>(null);
  const ready = useApp((state) => state.anatomy !== null);
  useEffect(() => {
    // Until there is a model to write for, keys are the page's; and whoever took the focus meanwhile keeps it.
    if (!ready || document.activeElement !== document.body) return;
    // On a touch screen focus would raise the keyboard over the picture.
    if (window.matchMedia("(pointer: fine)").matches) ref.current?.focus({ preventScroll: true });
  }, [ready]);
  return (
    <textarea
      ref={ref}
      id="prompt"
      data-testid="prompt"
      className="input prompt-box"
      aria-label={t("prompt.label")}
      placeholder={t("prompt.placeholder")}
      title={`${t("prompt.label")} (/)`}
      rows={3}
      spellCheck={false}
      dir="auto"
      value={prompt}
      onChange={(event) => store.setState({ prompt: event.target.value })}
    />
  );
}

function SamplePrompts() {
  const { t } = useTranslation();
  const store = useAppStore();
  const id = useId();
  const { samples, prompt } = useApp((state) => ({
    samples: state.models.find((model) => model.model_id === state.anatomy?.model_id)?.prompts,
    prompt: state.prompt,
  }));
  if (!samples || samples.length < 2) return null;
  const chosen = samples.indexOf(prompt);
  return (
    <div className="field-row samples">
      <label htmlFor={id}>{t("prompt.samples")}</label>
      <select
        id={id}
        className="input"
        title={t("prompt.samplesHint")}
        value={chosen}
        onChange={(event) => store.setState({ prompt: samples[Number(event.target.value)] ?? prompt })}
      >
        {chosen === -1 && <option value={-1}>{t("prompt.own")}</option>}
        {samples.map((sample, at) => (
          <option key={sample} value={at}>
            {sample}
          </option>
        ))}
      </select>
    </div>
  );
}

function RunButtons() {
  const { t } = useTranslation();
  const commands = useCommands();
  const { why, busy, stopping } = useApp((state) => ({
    why: whyNotRun(state),
    busy: isBusy(state),
    stopping: state.activity === "stopping" || state.activity === "starting",
  }));
  const reason = why && t(`prompt.whyNot.${why}`);
  return (
    <>
      <div className="button-row">
        <button
          type="button"
          className="button button-primary"
          data-testid="run"
          disabled={why !== null}
          title={reason ?? `${t("prompt.runHint")} (Ctrl+Enter)`}
          onClick={commands.run}
        >
          {t("prompt.run")}
        </button>
        <button
          type="button"
          className="button"
          data-testid="generate"
          disabled={why !== null}
          title={reason ?? `${t("prompt.generateHint")} (Ctrl+Shift+Enter)`}
          onClick={commands.generate}
        >
          {t("prompt.generate")}
        </button>
        <NewTokensField />
        <button
          type="button"
          className="button"
          data-testid="stop"
          disabled={!busy || stopping}
          title={busy ? `${t("prompt.stopHint")} (Ctrl+.)` : t("prompt.whyNot.notRunning")}
          onClick={commands.stop}
        >
          {t("prompt.stop")}
        </button>
      </div>
      {why === "tooLong" && <p className="hint hint-warning">{reason}</p>}
    </>
  );
}

/** Joined to the Generate button: how many tokens it writes at most. */
function NewTokensField() {
  const { t } = useTranslation();
  const store = useAppStore();
  const maxNewTokens = useApp((state) => state.maxNewTokens);
  return (
    <NumberField
      className="input mono new-tokens"
      data-testid="max-new-tokens"
      aria-label={t("prompt.maxNewTokens")}
      title={t("prompt.maxNewTokens")}
      min={1}
      max={MAX_NEW_TOKENS}
      value={maxNewTokens}
      onValue={(value) => value !== null && store.setState({ maxNewTokens: value })}
    />
  );
}
