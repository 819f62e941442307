import { ExportedSource } from "../data/ExportedSource";
import { filesBeside, findArchive, openArchive } from "../data/exportFiles";
import type { Source } from "../data/Source";
import { type AppStore, DEFAULT_SAMPLING } from "../state/createAppStore";
import type { UrlState } from "../state/urlState";
import { type Session, sceneCommands } from "./connectCommands";
import type { ConnectedScene } from "./connectScene";
import { describeFailure } from "./describeFailure";
import { linkedSelection } from "./linkedSelection";

const nothing = () => {};

export interface Exported {
  source: Source;
  connect(connected: ConnectedScene): Session;
}

/** The page of an export: it can look at its one recording, and offers nothing that would need a server. */
export function openExport(store: AppStore): Exported {
  const archive = findArchive(document);
  const source = new ExportedSource(
    archive === null ? filesBeside(new URL("data/", document.baseURI)) : openArchive(archive),
  );
  store.setState({ origin: "exported", connection: "online" });

  async function begin(url: UrlState): Promise<void> {
    try {
      const [anatomy, found] = await Promise.all([source.readAnatomy(), source.readRecording()]);
      const { model, prompt, recording, steps, readings } = found;
      const read = recording.tokens.slice(0, recording.prompt_count);
      store.setState({
        anatomy,
        models: [model],
        prompt,
        sampling: recording.sampling ?? DEFAULT_SAMPLING,
        liveTokens: { status: "ready", value: read, error: null, prompt },
      });
      store.setState({
        trace: recording,
        // An export of before holds no tests of what parts are worth.
        ...(!readings && { lit: "adds" as const }),
        tracePrompt: prompt,
        steps: Object.fromEntries(steps.map((step) => [step.pos, step])),
        position: url.position,
        ...linkedSelection(url.selection),
      });
    } catch (error) {
      store.setState({ damage: describeFailure(store, error) });
    }
  }

  return {
    source,
    connect: (connected) => ({
      begin,
      restore: async (url) => store.setState({ position: url.position, ...linkedSelection(url.selection) }),
      openModel: nothing,
      switchAdapter: nothing,
      openShapes: nothing,
      listShapes: nothing,
      run: nothing,
      generate: nothing,
      runAgain: nothing,
      writeOn: nothing,
      goBackTo: nothing,
      stop: nothing,
      reconnect: nothing,
      unlock: nothing,
      ...sceneCommands(store, connected),
    }),
  };
}
