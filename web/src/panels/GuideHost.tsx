import { useApp, useAppStore, useCommands } from "./AppContext";
import { lazyPart } from "./lazyPart";

const GuidePanel = lazyPart(() => import("../guide/GuidePanel"));

/** The guide, one key away; it arrives when it is first asked for. */
export function GuideHost() {
  const store = useAppStore();
  const commands = useCommands();
  const { open, anatomy } = useApp((state) => ({ open: state.panels.guide, anatomy: state.anatomy }));
  if (!open) return null;
  return (
    <GuidePanel
      anatomy={anatomy}
      highlight={commands.highlight}
      onClose={() => store.setState(({ panels }) => ({ panels: { ...panels, guide: false } }))}
    />
  );
}
