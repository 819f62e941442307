import { useTranslation } from "react-i18next";
import type { PanelName, ThemeChoice } from "../state/AppState";
import { useApp, useAppStore, useCommands } from "./AppContext";
import { Icon, type IconName } from "./Icon";
import { toggleOutline } from "./openOutline";

const NEXT_THEME: Record<ThemeChoice, ThemeChoice> = { system: "dark", dark: "light", light: "system" };

export function Toolbar() {
  const { t } = useTranslation();
  const store = useAppStore();
  const commands = useCommands();
  const { themeChoice, panels, light, drawn } = useApp((state) => ({
    drawn: state.sceneState === "drawn",
    themeChoice: state.themeChoice,
    panels: state.panels,
    light: state.light,
  }));
  const toggle = (name: PanelName) =>
    store.setState((state) => ({ panels: { ...state.panels, [name]: !state.panels[name] } }));
  return (
    <section className="toolbar panel" data-inset="top" aria-label={t("toolbar.label")}>
      <Tool icon="play" label={t("toolbar.play")} shortcut="P" disabled={!drawn} onClick={commands.play} />
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
        icon="outline"
        label={t("toolbar.outline")}
        shortcut="O"
        pressed={panels.outline}
        testId="outline-toggle"
        onClick={() => toggleOutline(store)}
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
  testId?: string;
  onClick: () => void;
}

function Tool({ icon, label, shortcut, pressed, disabled = false, testId, onClick }: ToolProps) {
  const { t } = useTranslation();
  return (
    <button
      type="button"
      className="icon-button"
      data-testid={testId}
      title={disabled ? t("scene.none") : `${label} (${shortcut})`}
      disabled={disabled}
      aria-label={label}
      aria-pressed={pressed}
      onClick={onClick}
    >
      <Icon name={icon} />
    </button>
  );
}
