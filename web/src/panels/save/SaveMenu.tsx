import { useState } from "react";
import { useTranslation } from "react-i18next";
import type { SavedFile } from "../../state/Commands";
import { pythonSnippet } from "../../state/pythonSnippet";
import { useApp, useAppStore, useCommands } from "../AppContext";
import { copyText } from "../copyText";
import { Icon } from "../Icon";
import { Popover } from "../Popover";
import { saveHeatMap } from "./saveHeatMap";

/** What is on screen as files of one's own: a picture, a matrix, a program that makes it again. */
export function SaveMenu() {
  const { t } = useTranslation();
  return (
    <Popover
      className="save"
      label={t("save.title")}
      hint={`${t("save.hint")} (S)`}
      testId="save-toggle"
      face={<Icon name="save" />}
    >
      {(close) => <SaveList onDone={close} />}
    </Popover>
  );
}

function SaveList({ onDone }: { onDone: () => void }) {
  const { t } = useTranslation();
  const store = useAppStore();
  const commands = useCommands();
  const [failure, setFailure] = useState<string | null>(null);
  const [done, setDone] = useState(false);
  const { drawn, hasMatrix, hasRun } = useApp((state) => ({
    drawn: state.sceneState === "drawn",
    hasMatrix: state.inspected.value !== null && state.selection !== null,
    hasRun: state.trace !== null,
  }));
  const noMatrix = hasMatrix ? null : t("save.noMatrix");
  const save = async (file: SavedFile) => {
    const message = await commands.save(file);
    setFailure(message);
    if (message === null) onDone();
  };
  const items: { name: "png" | "svg" | "csv" | "npy"; why: string | null; act: () => void }[] = [
    { name: "png", why: drawn ? null : t("scene.none"), act: () => void save("png") },
    {
      name: "svg",
      why: noMatrix,
      act: () => {
        saveHeatMap(store.getState());
        onDone();
      },
    },
    { name: "csv", why: noMatrix, act: () => void save("csv") },
    { name: "npy", why: noMatrix, act: () => void save("npy") },
  ];
  return (
    <div className="save-list panel" data-testid="save-list">
      {items.map(({ name, why, act }) => (
        <button
          key={name}
          type="button"
          className="menu-row"
          data-testid={`save-${name}`}
          disabled={why !== null}
          title={why ?? t(`save.${name}Hint`)}
          onClick={act}
        >
          {t(`save.${name}`)}
          <span className="quiet mono">.{name}</span>
        </button>
      ))}
      <button
        type="button"
        className="menu-row"
        data-testid="save-python"
        disabled={!hasRun}
        title={hasRun ? t("save.pythonHint") : t("sampling.empty")}
        onClick={async () => setDone(await copyText(pythonSnippet(store.getState()) ?? ""))}
      >
        {t(done ? "written.copied" : "save.python")}
        <span className="quiet mono">.py</span>
      </button>
      <p className="visually-hidden" role="status">
        {done && t("written.copied")}
      </p>
      {failure && (
        <p className="failure" role="alert">
          {failure}
        </p>
      )}
    </div>
  );
}
