import { useTranslation } from "react-i18next";
import type { SheetName } from "../state/AppState";
import { useApp, useAppStore } from "./AppContext";
import { GuideHost } from "./GuideHost";
import { HeadsView } from "./heads/HeadsPanel";
import { Icon, type IconName } from "./Icon";
import { InspectorPanel } from "./InspectorPanel";
import { OutlineTree } from "./OutlinePanel";
import { PartBoundary } from "./PartBoundary";
import { PromptForm, TokenCount } from "./PromptPanel";
import { ReadingPanel } from "./reading/ReadingPanel";
import { SamplingForm } from "./SamplingPanel";
import { Timeline } from "./Timeline";

const SHEETS: Exclude<SheetName, "none">[] = ["prompt", "sampling", "inspector", "outline", "heads"];

/** The panels of a small window: one at a time, beside the scene or over the lower part of it. */
export function Sheets({ overScene = false }: { overScene?: boolean }) {
  const inset = overScene ? "bottom" : undefined;
  const { t } = useTranslation();
  const store = useAppStore();
  const { sheet, guideOpen } = useApp((state) => ({ sheet: state.sheet, guideOpen: state.panels.guide }));
  const isShape = useApp((state) => state.shapes.length > 0);
  // The guide takes the place of the sheets, so that the scene it speaks of stays in view.
  if (guideOpen) {
    return (
      <div className="sheets" data-inset={inset}>
        <GuideHost />
      </div>
    );
  }
  return (
    <div className="sheets" data-inset={inset}>
      {overScene && (
        <PartBoundary fallback={null}>
          <ReadingPanel />
        </PartBoundary>
      )}
      {overScene && (sheet === "prompt" || sheet === "sampling" || sheet === "none") && <Timeline />}
      {sheet !== "none" && (
        <section
          className="sheet panel"
          data-sheet={sheet}
          aria-label={t("sheet.open", { sheet: t(`sheet.${sheet}`) })}
        >
          <PartBoundary>
            <SheetContent sheet={sheet} />
          </PartBoundary>
        </section>
      )}
      <nav className="tabs" aria-label={t("sheet.label")}>
        {SHEETS.filter((name) => !isShape || name !== "sampling").map((name) => (
          <button
            key={name}
            type="button"
            className="tab"
            aria-pressed={sheet === name}
            onClick={() => store.setState({ sheet: sheet === name ? "none" : name })}
          >
            <Icon name={name satisfies IconName} />
            {isShape && name === "prompt" ? t("shape.title") : t(`sheet.${name}`)}
          </button>
        ))}
      </nav>
    </div>
  );
}

function SheetContent({ sheet }: { sheet: SheetName }) {
  const { t } = useTranslation();
  const selected = useApp((state) => state.selection !== null);
  switch (sheet) {
    case "prompt":
      return <PromptForm count={<TokenCount />} />;
    case "sampling":
      return <SamplingForm />;
    case "outline":
      return <OutlineTree />;
    case "heads":
      return <HeadsView />;
    case "inspector":
      return selected ? <InspectorPanel /> : <p className="hint">{t("sheet.nothingSelected")}</p>;
    default:
      return null;
  }
}
