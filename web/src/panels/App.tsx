import { useTranslation } from "react-i18next";
import type { Commands } from "../state/Commands";
import type { AppStore } from "../state/createAppStore";
import { AppProvider, useApp } from "./AppContext";
import { ConnectionNotice } from "./ConnectionNotice";
import { GuideHost } from "./GuideHost";
import { HoverCard } from "./HoverCard";
import { HowToRead } from "./HowToRead";
import { HeadsPanel } from "./heads/HeadsPanel";
import { InspectorPanel } from "./InspectorPanel";
import { KeyDialog } from "./KeyDialog";
import { Legend } from "./Legend";
import { Masthead } from "./Masthead";
import { OutlinePanel } from "./OutlinePanel";
import { PartBoundary } from "./PartBoundary";
import { PromptPanel } from "./PromptPanel";
import { PartCard } from "./reading/PartCard";
import { ReadingPanel } from "./reading/ReadingPanel";
import { SamplingPanel } from "./SamplingPanel";
import { SceneNotice } from "./SceneNotice";
import { SearchDialog } from "./SearchDialog";
import { ShapeHoverCard } from "./ShapeHoverCard";
import { Sheets } from "./Sheets";
import { Timeline } from "./Timeline";
import { Toolbar } from "./Toolbar";
import { SHEETS_QUERY, SIDE_QUERY, useMediaQuery } from "./useMediaQuery";
import { useShortcuts } from "./useShortcuts";

/** Everything around the scene. Knows the store and the commands, nothing of the server or three.js. */
export function App({ store, commands }: { store: AppStore; commands: Commands }) {
  return (
    <AppProvider store={store} commands={commands}>
      <Page />
    </AppProvider>
  );
}

function Page() {
  useShortcuts();
  const inSheets = useMediaQuery(SHEETS_QUERY);
  const beside = useMediaQuery(SIDE_QUERY);
  return (
    <>
      {beside ? <SidePage /> : inSheets ? <NarrowPage /> : <WidePage />}
      {(beside || !inSheets) && <SceneNotice />}
      <PartBoundary fallback={null}>
        <HoverCard />
        <PartCard />
        <ShapeHoverCard />
      </PartBoundary>
      <SearchDialog />
      <KeyDialog />
    </>
  );
}

function WidePage() {
  const { t } = useTranslation();
  const { outline: outlineOpen, heads: headsOpen, guide: guideOpen } = useApp((state) => state.panels);
  const selected = useApp((state) => state.selection !== null);
  const isShape = useApp((state) => state.shapes.length > 0);
  return (
    <>
      <aside className="column column-left" data-inset="left" aria-label={t("sheet.column")}>
        <Masthead />
        <ConnectionNotice />
        <PartBoundary>
          <PromptPanel />
        </PartBoundary>
        {!isShape && (
          <PartBoundary>
            <SamplingPanel />
          </PartBoundary>
        )}
      </aside>
      <HowToRead />
      <Toolbar />
      {(guideOpen || outlineOpen || headsOpen || selected) && (
        <aside className="column column-right" data-inset="right" aria-label={t("sheet.inspector")}>
          <GuideHost />
          {outlineOpen && (
            <PartBoundary>
              <OutlinePanel />
            </PartBoundary>
          )}
          {headsOpen && (
            <PartBoundary>
              <HeadsPanel />
            </PartBoundary>
          )}
          {selected && (
            <PartBoundary>
              <InspectorPanel />
            </PartBoundary>
          )}
        </aside>
      )}
      <footer className="foot" data-inset="bottom">
        <PartBoundary fallback={null}>
          <ReadingPanel />
        </PartBoundary>
        <div className="strip">
          <PartBoundary>
            <Timeline />
          </PartBoundary>
          <Legend />
        </div>
      </footer>
    </>
  );
}

function SidePage() {
  const { t } = useTranslation();
  return (
    <>
      <aside className="side" data-inset="left" aria-label={t("sheet.column")}>
        <Masthead />
        <ConnectionNotice />
        <Sheets />
      </aside>
      <div className="narrow-row" data-inset="top">
        <Legend />
        <Toolbar />
      </div>
      <footer className="side-strip" data-inset="bottom">
        <PartBoundary fallback={null}>
          <ReadingPanel />
        </PartBoundary>
        <PartBoundary>
          <Timeline />
        </PartBoundary>
      </footer>
    </>
  );
}

function NarrowPage() {
  return (
    <>
      <header className="narrow-top" data-inset="top">
        <Masthead />
        <ConnectionNotice />
        <div className="narrow-row">
          <Legend />
          <Toolbar />
        </div>
        <SceneNotice />
      </header>
      <Sheets overScene />
    </>
  );
}
