import { type ReactNode, useEffect, useId, useRef } from "react";
import { useTranslation } from "react-i18next";
import { givenMessages } from "../state/conversation";
import { countRun, isBusy } from "../state/selectors";
import { whyNotRun } from "../state/whyNotRun";
import { useApp, useAppStore, useCommands } from "./AppContext";
import { AskMode } from "./AskMode";
import { formatCount } from "./formatNumber";
import { NumberField } from "./NumberField";
import { Panel } from "./Panel";
import { PromptTokens } from "./PromptTokens";
import { RunStatus } from "./RunStatus";

import { ShapeFacts } from "./ShapeFacts";
import { Conversation, WrittenText } from "./WrittenText";

const MAX_NEW_TOKENS = 4096;

export function PromptPanel() {
  const { t } = useTranslation();
  const isShape = useApp((state) => state.shapes.length > 0);
  if (isShape) {
    return (
      <Panel name="prompt" title={t("shape.title")}>
        <PromptForm />
      </Panel>
    );
  }
  return (
    <Panel name="prompt" title={t("prompt.title")} aside={<TokenCount />}>
      <PromptForm />
    </Panel>
  );
}

/** The prompt box, its tokens and what can be done with them. `count` stands beside the status, where no title carries it. */
export function PromptForm({ count }: { count?: ReactNode }) {
  const { exported, chatting } = useApp((state) => ({
    exported: state.origin === "exported",
    chatting: state.chatting,
  }));
  const isShape = useApp((state) => state.shapes.length > 0);
  if (exported) return <ExportedPrompt count={count} />;
  if (isShape) {
    return (
      <div className="prompt-form">
        <RunButtons />
        <ShapeFacts />
      </div>
    );
  }
  return (
    <div className="prompt-form">
      <div className="ask-row">
        <AskMode />
        {!chatting && <SamplePrompts />}
      </div>
      {chatting && <Conversation />}
      <PromptBox />
      {!chatting && <PromptTokens />}
      <RunButtons />
      <div className="status-row">
        <RunStatus />
        {count}
      </div>
      {!chatting && <WrittenText />}
    </div>
  );
}

/** Of an export: what was read, and where a prompt of one's own can be run. */
function ExportedPrompt({ count }: { count?: ReactNode }) {
  const { t } = useTranslation();
  const { prompt, chatted } = useApp((state) => ({
    prompt: state.prompt,
    chatted: givenMessages(state).length > 0,
  }));
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
      {chatted ? <Conversation /> : <WrittenText />}
      <p className="hint">
        {t("exported.own")} <code className="install mono">pip install glassformer</code>
      </p>
    </div>
  );
}

export function TokenCount() {
  const { t } = useTranslation();
  const { count, stale, context } = useApp((state) => ({
    // What a template adds to a message is known once it has run.
    count: state.chatting ? null : countRun(state),
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
  const commands = useCommands();
  const { prompt, chatting } = useApp((state) => ({ prompt: state.prompt, chatting: state.chatting }));
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
      data-chatting={chatting || undefined}
      aria-label={t(chatting ? "prompt.message" : "prompt.label")}
      placeholder={t(chatting ? "prompt.messagePlaceholder" : "prompt.placeholder")}
      title={`${t(chatting ? "prompt.message" : "prompt.label")} (W)`}
      rows={chatting ? 2 : 3}
      spellCheck={false}
      dir="auto"
      value={prompt}
      onChange={(event) => store.setState({ prompt: event.target.value })}
      onKeyDown={(event) => {
        const isSend = chatting && event.key === "Enter" && !event.nativeEvent.isComposing;
        if (!isSend || event.shiftKey || event.ctrlKey || event.metaKey) return;
        event.preventDefault();
        commands.generate();
      }}
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
        aria-label={t("prompt.samples")}
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
  const { why, busy, stopping, chatting } = useApp((state) => ({
    chatting: state.chatting,
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
          className={chatting ? "button" : "button button-primary"}
          data-testid="run"
          disabled={why !== null}
          title={reason ?? `${t(chatting ? "prompt.readHint" : "prompt.runHint")} (Ctrl+Enter)`}
          onClick={commands.run}
        >
          {t(chatting ? "prompt.read" : "prompt.run")}
        </button>
        <button
          type="button"
          className={chatting ? "button button-primary" : "button"}
          data-testid="generate"
          disabled={why !== null}
          title={
            reason ??
            (chatting ? `${t("prompt.sendHint")} (Enter)` : `${t("prompt.generateHint")} (Ctrl+Shift+Enter)`)
          }
          onClick={commands.generate}
        >
          {t(chatting ? "prompt.send" : "prompt.generate")}
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
