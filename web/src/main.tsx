import "./styles/page.css";
import i18next from "i18next";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { restoreApiKey } from "./data/apiKey";
import { liveSource } from "./data/liveSource";
import { browserStorage } from "./main/browserStorage";
import { connectCommands } from "./main/connectCommands";
import { connectScene } from "./main/connectScene";
import { sceneTexts } from "./main/sceneTexts";
import { watchAppearance } from "./main/watchAppearance";
import { watchDistribution } from "./main/watchDistribution";
import { watchHeads } from "./main/watchHeads";
import { watchHover } from "./main/watchHover";
import { watchInsets } from "./main/watchInsets";
import { watchPrompt } from "./main/watchPrompt";
import { watchReading } from "./main/watchReading";
import { watchSelection } from "./main/watchSelection";
import { watchUrl } from "./main/watchUrl";
import { watchWithout } from "./main/watchWithout";
import { App } from "./panels/App";
import { startWords } from "./panels/words/startWords";
import type { Scene } from "./scene/Scene";
import { type AppStore, createAppStore } from "./state/createAppStore";
import { readPreferences } from "./state/preferences";
import { readUrl } from "./state/urlState";

declare global {
  interface Window {
    /** For automation: tests and notebooks drive the page through the same store and scene as the panels. */
    glassformer: { store: AppStore; scene: Scene };
  }
}

const stage = document.createElement("main");
stage.id = "stage";
const root = document.getElementById("root") ?? document.body.appendChild(document.createElement("div"));
root.before(stage);

const url = readUrl(window.location.search);
const store = createAppStore({ maxNewTokens: url.maxNewTokens, sampling: url.sampling });
const remembered = browserStorage("localStorage");
const ofThisTab = browserStorage("sessionStorage");
store.setState(readPreferences(remembered, store.getState()));
startWords(store.getState().language);
watchAppearance(store, remembered);

// What an export writes into its page: no server stands behind it.
const isExport = document.getElementById("glassformer-export") !== null;
const exported = isExport ? (await import("./main/openExport")).openExport(store) : null;
const source = exported?.source ?? liveSource;
restoreApiKey(ofThisTab);
const connected = connectScene(store, source, stage, i18next.t("scene.label"), sceneTexts);
const { scene, tensors } = connected;
const session = exported?.connect(connected) ?? connectCommands(store, connected, ofThisTab);
watchPrompt(store);
watchDistribution(store, source);
watchReading(store, source, document);
watchWithout(store, source);
watchSelection(store, source, tensors.reader);
watchHover(store, tensors.reader);
watchHeads(store, source, tensors.reader);
watchUrl(store, session.restore);
watchInsets(scene, root);
window.glassformer = { store, scene };

createRoot(root).render(
  <StrictMode>
    <App store={store} commands={session} />
  </StrictMode>,
);
void session.begin(url);
