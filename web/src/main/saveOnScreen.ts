import i18next from "i18next";
import { csvOf, npyOf } from "../data/matrixFile";
import { leadOf } from "../layout/leads";
import { saveFile } from "../panels/save/saveFile";
import type { SavedFile } from "../state/Commands";
import type { AppStore } from "../state/createAppStore";
import { axisNames } from "../state/selectors";
import type { ConnectedScene } from "./connectScene";
import { describeFailure } from "./describeFailure";
import { tensorStoreOf } from "./tensorStoreOf";

/** Nobody waits longer for a download to begin. */
const READ_MS = 60_000;
/** A table or an array of more numbers is no download but a program's work. */
const MOST_CELLS = { csv: 2_000_000, npy: 64_000_000 };

/** Saves what is on screen; resolves to the sentence to show where it cannot. */
export async function saveOnScreen(
  store: AppStore,
  { scene, tensors }: Pick<ConnectedScene, "scene" | "tensors">,
  file: SavedFile,
): Promise<string | null> {
  const state = store.getState();
  if (file === "png") {
    const picture = await scene.takePicture();
    if (picture) saveFile(`${state.anatomy?.title.replaceAll(/\W+/g, "_") ?? "model"}.png`, picture);
    return picture ? null : i18next.t("save.noPicture");
  }
  const { selection } = state;
  const source = selection && tensorStoreOf(state, selection.address);
  if (!selection || !source) return i18next.t("save.noMatrix");
  const cells = source.shape.reduce((product, size) => product * size, 1);
  if (cells > MOST_CELLS[file]) {
    return i18next.t("save.tooMany", { address: selection.address, cells, most: MOST_CELLS[file] });
  }
  try {
    // A table holds the plane that is shown, an array all there is.
    const lead = file === "csv" ? leadOf(axisNames(state, selection.address), selection.index) : undefined;
    const where = { store: source.store, name: selection.address, level: 0, lead };
    const matrix = await tensors.reader.read(where, AbortSignal.timeout(READ_MS));
    const content =
      file === "npy"
        ? new Blob([npyOf(matrix)], { type: "application/octet-stream" })
        : new Blob([csvOf(matrix, selection.index)], { type: "text/csv" });
    saveFile(`${selection.address}.${file}`, content);
    return null;
  } catch (error) {
    return describeFailure(store, error) ?? i18next.t("save.tooLong");
  }
}
