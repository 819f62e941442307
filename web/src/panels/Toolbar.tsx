import { useTranslation } from "react-i18next";
import type { PanelName, ThemeChoice } from "../state/AppState";
import { useApp, useAppStore, useCommands } from "./AppContext";
import { toggleHeads } from "./heads/openHeads";
import { Icon, type IconName } from "./Icon";
import { toggleOutline } from "./openOutline";
import { SaveMenu } from "./save/SaveMenu";

const NEXT_THEME: Record<ThemeChoice, ThemeChoice> = { system: "dark", dark: "light", light: "system" };

export function Toolbar() {
  const { t } = useTranslation();
  const store = useAppStore();
  const commands = useCommands();
  const { themeChoice, panels, light, drawn, view, large } = useApp((state) => ({
    view: state.view,
    large: state.large,
    drawn: state.sceneState === "drawn",
    themeChoice: state.themeChoice,
    panels: state.panels,
    light: state.light,
  }));
  const toggle = (name: PanelName) =>
    store.setState((state) => ({ panels: { ...state.panels, [name]: !state.panels[name] } }));
  return (
    <section className="toolbar panel" data-inset="top" aria-label={t("toolbar.label")}>
      <Tool
        icon="play"
        label={t("toolbar.play")}
        shortcut="P"
        disabled={!drawn}
        testId="play"
        onClick={commands.play}
      />
      <input
        className="scrub"
        type="range"
        min={0}
        max={1}
        step={0.005}
        disabled={!drawn}
        value={light}
        aria-label={t("toolbar.scrub")}
        title={t("toolbar.scrub")}
        style={{ "--filled": `${light * 100}%` } as React.CSSProperties}
        onChange={(event) => commands.scrub(event.target.valueAsNumber)}
      />
      <Tool icon="fit" label={t("toolbar.fit")} shortcut="F" disabled={!drawn} onClick={commands.fit} />
      <Tool
        icon="undo"
        label={t("toolbar.undo")}
        shortcut="Z"
        disabled={!drawn || !view.canUndo}
        why={drawn ? t("toolbar.noUndo") : undefined}
        testId="undo-view"
        onClick={commands.undoView}
      />
      <Tool
        icon="redo"
        label={t("toolbar.redo")}
        shortcut="Shift+Z"
        disabled={!drawn || !view.canRedo}
        why={drawn ? t("toolbar.noRedo") : undefined}
        testId="redo-view"
        onClick={commands.redoView}
      />
      <Tool
        icon="search"
        label={t("search.title")}
        shortcut="/"
        testId="search-toggle"
        onClick={() => store.setState({ searching: true })}
      />
      <Tool
        icon="outline"
        label={t("toolbar.outline")}
        shortcut="O"
        pressed={panels.outline}
        testId="outline-toggle"
        onClick={() => toggleOutline(store)}
      />
      <SaveMenu />
      <Tool
        icon="large"
        label={t("toolbar.large")}
        shortcut="L"
        pressed={large}
        testId="large-toggle"
        onClick={() => store.setState({ large: !large })}
      />
      <Tool
        icon="heads"
        label={t("toolbar.heads")}
        shortcut="H"
        pressed={panels.heads}
        testId="heads-toggle"
        onClick={() => toggleHeads(store)}
      />
      <Tool
        icon={themeChoice}
        label={t("toolbar.theme", { choice: t(`toolbar.themes.${themeChoice}`) })}
        shortcut="T"
        testId="theme-toggle"
        onClick={() => store.setState({ themeChoice: NEXT_THEME[themeChoice] })}
      />
      <Tool
        icon="guide"
        label={t("toolbar.guide")}
        shortcut="?"
        pressed={panels.guide}
        testId="guide-toggle"
        onClick={() => toggle("guide")}
      />
    </section>
  );
}

interface ToolProps {
  icon: IconName;
  label: string;
  shortcut: string;
  pressed?: boolean;
  disabled?: boolean;
  /** Why it is disabled, if not because there is no picture. */
  why?: string;
  testId?: string;
  onClick: () => void;
}

function Tool({ icon, label, shortcut, pressed, disabled = false, why, testId, onClick }: ToolProps) {
  const { t } = useTranslation();
  return (
    <button
      type="button"
      className="icon-button"
      data-testid={testId}
      title={disabled ? (why ?? t("scene.none")) : `${label} (${shortcut})`}
      disabled={disabled}
      aria-label={label}
      aria-pressed={pressed}
      onClick={onClick}
    >
      <Icon name={icon} />
    </button>
  );
}
