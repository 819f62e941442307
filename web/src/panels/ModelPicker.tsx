import { type FormEvent, useId, useState } from "react";
import { useTranslation } from "react-i18next";
import type { ModelSummary } from "../protocol/schema.generated";
import { useApp, useAppStore, useCommands } from "./AppContext";
import { formatBytes, formatLarge } from "./formatNumber";
import { Icon } from "./Icon";
import { LoadProgressBar } from "./LoadProgressBar";
import { ShapeList } from "./ShapeList";
import { usePopover } from "./usePopover";

/** The model on screen, and a way to any other. */
export function ModelPicker() {
  const { t } = useTranslation();
  const { open, setOpen, rootRef } = usePopover();
  const popoverId = useId();
  const anatomy = useApp((state) => state.anatomy);
  const opening = useApp((state) => state.opening);

  return (
    <div className="model-picker" ref={rootRef}>
      <button
        type="button"
        className="button model-button"
        data-testid="model-picker"
        aria-expanded={open}
        aria-controls={popoverId}
        title={t("model.pickHint")}
        onClick={() => setOpen(!open)}
      >
        <span className="visually-hidden">{t("model.pick")}: </span>
        <span className="model-name">{opening?.modelId ?? anatomy?.model_id ?? "…"}</span>
        <Icon name="chevron" />
      </button>
      {open && (
        <div className="popover" id={popoverId}>
          <ModelMenu onDone={() => setOpen(false)} />
        </div>
      )}
      <LoadProgressBar />
      <ModelFailureNote />
    </div>
  );
}

/** In the place of the picker where there is no other model to pick. */
export function ModelName() {
  const { t } = useTranslation();
  const name = useApp((state) => state.anatomy?.model_id);
  if (!name) return null;
  return (
    <span
      className="model-name model-name-alone mono"
      data-testid="model-name"
      title={t("exported.oneModel")}
    >
      {name}
    </span>
  );
}

function ModelMenu({ onDone }: { onDone: () => void }) {
  const { t } = useTranslation();
  const commands = useCommands();
  const models = useApp((state) => state.models);
  const [typed, setTyped] = useState("");
  const inputId = useId();
  const id = typed.trim();

  const openModel = (modelId: string) => {
    commands.openModel(modelId);
    onDone();
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (id !== "") openModel(id);
  };

  return (
    <>
      <h2 className="popover-title">{t("model.here")}</h2>
      <ul className="model-list">
        {models.map((model) => (
          <li key={model.model_id}>
            <ModelOption model={model} onOpen={() => openModel(model.model_id)} />
          </li>
        ))}
      </ul>
      <ShapeList onDone={onDone} />
      <form onSubmit={submit} className="model-form">
        <label htmlFor={inputId} className="popover-title">
          {t("model.any")}
        </label>
        <div className="field-row">
          <input
            id={inputId}
            data-testid="model-input"
            className="input mono"
            type="text"
            autoComplete="off"
            autoCapitalize="off"
            spellCheck={false}
            placeholder={t("model.input")}
            value={typed}
            onChange={(event) => setTyped(event.target.value)}
          />
          <button
            type="submit"
            className="button button-primary"
            disabled={id === ""}
            title={id === "" ? t("model.openEmpty") : t("model.title")}
          >
            {t("model.open")}
          </button>
        </div>
        <p className="hint">{t("model.inputHint")}</p>
      </form>
    </>
  );
}

function ModelOption({ model, onOpen }: { model: ModelSummary; onOpen: () => void }) {
  const { t } = useTranslation();
  const current = useApp((state) => state.anatomy?.model_id === model.model_id);
  const facts = [
    model.store || t(`model.${model.source}`),
    model.form,
    model.needed_bytes === null ? null : formatBytes(model.needed_bytes),
    model.parameters === null ? null : formatLarge(model.parameters),
    current ? t("model.current") : model.status === "ready" ? t("model.ready") : null,
  ].filter((fact) => fact !== null);
  const text = model.error ?? [model.reason, model.description, model.note].filter(Boolean).join(" ");
  return (
    <button
      type="button"
      className="model-option"
      data-testid="model-option"
      data-model-id={model.model_id}
      aria-current={current}
      onClick={onOpen}
    >
      <span className="model-option-title">{model.title || model.model_id}</span>
      <span className="model-option-facts mono">{facts.join(" · ")}</span>
      {text !== "" && <span className="model-option-text">{text}</span>}
    </button>
  );
}

function ModelFailureNote() {
  const { t } = useTranslation();
  const store = useAppStore();
  const failure = useApp((state) => (state.connection === "lost" ? null : state.modelFailure));
  const commands = useCommands();
  if (!failure) return null;
  return (
    <div className="failure" role="alert" data-testid="error">
      <div className="failure-text">
        <p>{t("model.failed", { model: failure.modelId, message: failure.message })}</p>
        {failure.hasShape && (
          <button
            type="button"
            className="button"
            title={t("shape.showHint")}
            data-testid="show-shape"
            onClick={() => commands.openShapes([failure.modelId])}
          >
            {t("shape.show")}
          </button>
        )}
      </div>
      <button
        type="button"
        className="icon-button"
        title={t("model.dismiss")}
        aria-label={t("model.dismiss")}
        onClick={() => store.setState({ modelFailure: null })}
      >
        <Icon name="close" />
      </button>
    </div>
  );
}
