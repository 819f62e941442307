import { type FormEvent, useEffect, useId, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { useApp, useCommands } from "./AppContext";

/** Asks for the API key of a server that wants one. The page behind it shows what it has. */
export function KeyDialog() {
  const wanted = useApp((state) => state.keyWanted !== null);
  return wanted ? <KeyForm /> : null;
}

function KeyForm() {
  const { t } = useTranslation();
  const commands = useCommands();
  const ref = useRef<HTMLDialogElement>(null);
  const [typed, setTyped] = useState("");
  const titleId = useId();
  const inputId = useId();
  const refused = useApp((state) => state.keyWanted === "wrong");
  const key = typed.trim();

  useEffect(() => ref.current?.showModal(), []);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (key !== "") commands.unlock(key);
  };

  return (
    <dialog
      ref={ref}
      className="key-dialog panel"
      data-testid="key-dialog"
      aria-labelledby={titleId}
      // Without a key there is nothing to go back to.
      onCancel={(event) => event.preventDefault()}
    >
      <form onSubmit={submit}>
        <h2 id={titleId}>{t("key.title")}</h2>
        <p className="hint">{t("key.text")}</p>
        <label htmlFor={inputId}>{t("key.label")}</label>
        <div className="field-row">
          <input
            id={inputId}
            data-testid="key-input"
            className="input mono"
            type="password"
            autoComplete="current-password"
            aria-invalid={refused}
            value={typed}
            onChange={(event) => setTyped(event.target.value)}
          />
          <button
            type="submit"
            className="button button-primary"
            disabled={key === ""}
            title={key === "" ? t("key.empty") : t("key.use")}
          >
            {t("key.use")}
          </button>
        </div>
        <p className="failure" role="alert" hidden={!refused}>
          {t("key.wrong")}
        </p>
      </form>
    </dialog>
  );
}
