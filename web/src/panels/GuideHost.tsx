import { useApp, useAppStore, useCommands } from "./AppContext";
import { lazyPart } from "./lazyPart";
import { useReturnFocus } from "./useReturnFocus";

const GuidePanel = lazyPart(() => import("../guide/GuidePanel"));

/** The guide, one key away; it arrives when it is first asked for. */
export function GuideHost() {
  const open = useApp((state) => state.panels.guide);
  if (!open) return null;
  return <OpenGuide />;
}

function OpenGuide() {
  const store = useAppStore();
  const commands = useCommands();
  const anatomy = useApp((state) => state.anatomy);
  useReturnFocus();
  return (
    <GuidePanel
      anatomy={anatomy}
      highlight={commands.highlight}
      focus={commands.focus}
      onClose={() => store.setState(({ panels }) => ({ panels: { ...panels, guide: false } }))}
    />
  );
}
