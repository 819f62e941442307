import i18next from "i18next";
import { LatestRequest } from "../data/LatestRequest";
import type { MatrixReader } from "../data/MatrixReader";
import type { Source } from "../data/Source";
import { leadOf } from "../layout/leads";
import { isTokenAxis } from "../protocol/isTokenAxis";
import { type AppState, EMPTY } from "../state/AppState";
import type { AppStore } from "../state/createAppStore";
import { axisNames, findSite, hasRecording, isRecorded, isSettled, whyRefused } from "../state/selectors";
import { sharedPrefix } from "../state/sharedPrefix";
import { watchState } from "../state/watchState";
import { describeFailure } from "./describeFailure";
import { tensorStoreOf } from "./tensorStoreOf";
import { whenBack } from "./whenBack";

/** A held arrow key moves the cell about thirty times a second; explain it where it comes to rest. */
const EXPLAIN_DEBOUNCE_MS = 80;
/** The inspector draws one pixel or more a cell, so about four million cells are all that it can use. */
const INSPECTED_CELLS = 4_000_000;

/** Reads what the inspector shows of the selected cell: its matrix, and how the cell was computed. */
export function watchSelection(store: AppStore, source: Source, reader: MatrixReader): void {
  const matrices = new LatestRequest();
  const cells = new LatestRequest(EXPLAIN_DEBOUNCE_MS);
  const explanations = new LatestRequest(EXPLAIN_DEBOUNCE_MS);

  async function readMatrix(): Promise<void> {
    const state = store.getState();
    // The new recording has no positions yet. What is shown stays until it has.
    const isAwaited = state.trace?.positions === 0 && !isSettled(state);
    if (isAwaited && state.inspected.value && state.inspected.value.address === state.selection?.address)
      return;
    const source = state.selection ? tensorStoreOf(state, state.selection.address) : null;
    if (!source || !state.selection) {
      matrices.cancel();
      store.setState({ inspected: EMPTY });
      return;
    }
    if (!reader.holds(source.store)) {
      matrices.cancel();
      store.setState({
        inspected: { status: "failed", value: null, error: i18next.t("exported.weightsLeftOut") },
      });
      return;
    }
    const name = state.selection.address;
    const lead = leadOf(axisNames(state, name), state.selection.index);
    const { value: before } = state.inspected;
    const known = before?.address === name && before.lead === lead ? before : null;
    store.setState({ inspected: { status: "loading", value: known, error: null } });
    try {
      const level = levelFor(lead === undefined ? source.shape : source.shape.slice(1));
      const matrix = await matrices.run((signal) =>
        reader.read({ store: source.store, name, level, lead }, signal),
      );
      if (matrix) store.setState({ inspected: { status: "ready", value: matrix, error: null } });
    } catch (error) {
      store.setState({ inspected: { status: "failed", value: null, error: describeFailure(store, error) } });
    }
  }

  async function readExactly(): Promise<void> {
    const state = store.getState();
    const { selection, inspected } = state;
    const source = selection && tensorStoreOf(state, selection.address);
    if (!selection || !source || (inspected.value?.level ?? 0) === 0) {
      cells.cancel();
      return;
    }
    try {
      const value = await cells.run((signal) => reader.readCell(source.store, selection, signal));
      store.setState({ exactValue: { cell: selection, value } });
    } catch (error) {
      describeFailure(store, error);
    }
  }

  async function explain(): Promise<void> {
    const state = store.getState();
    const { selection, trace, anatomy, explanation } = state;
    if (explanation.value && trace?.positions === 0 && !isSettled(state)) return;
    const isKnown = selection && findSite(anatomy, selection.address) && isRecorded(state, selection);
    if (!trace || !isKnown || whyRefused(anatomy, selection.address) !== null) {
      explanations.cancel();
      store.setState({ explanation: EMPTY });
      return;
    }
    store.setState({ explanation: { ...explanation, status: "loading", error: null } });
    try {
      const value = await explanations.run((signal) => source.explain(trace.id, selection, signal));
      if (value) store.setState({ explanation: { status: "ready", value, error: null } });
    } catch (error) {
      store.setState({
        explanation: { status: "failed", value: null, error: describeFailure(store, error) },
      });
    }
  }

  /**
   * Empties what no longer holds for the recording on screen: everything that depends on tokens which it does not share
   * with the one before, and everything at all if the server has replaced its rows.
   */
  function letGo(state: AppState, previous: AppState): void {
    const kept = sharedPrefix(previous.trace, state.trace);
    const { address, index } = state.selection ?? { address: "", index: [] };
    const site = findSite(state.anatomy, address);
    if (!site) return;
    if (state.trace?.id === previous.trace?.id) {
      store.setState({ inspected: EMPTY, explanation: EMPTY, exactValue: null });
      return;
    }
    if (kept < (previous.trace?.tokens.length ?? 0)) store.setState({ inspected: EMPTY });
    if (index.some((each, axis) => isTokenAxis(site.axes[axis]) && each >= kept))
      store.setState({ explanation: EMPTY, exactValue: null });
  }

  whenBack(store, () => {
    const { inspected, explanation } = store.getState();
    if (inspected.status === "failed") void readMatrix();
    if (explanation.status === "failed") void explain();
  });
  watchState(store, (state) => [state.trace?.id, state.trace?.rewritten], letGo);
  watchState(
    store,
    // The matrix is not read again for each new token, but once when the text has ended.
    (state) => [
      state.selection?.address,
      state.selection && leadOf(axisNames(state, state.selection.address), state.selection.index),
      state.trace?.id,
      state.trace?.rewritten,
      hasRecording(state),
      isSettled(state),
      state.anatomy,
    ],
    () => void readMatrix(),
  );
  watchState(
    store,
    (state) => [state.selection, state.inspected.value],
    () => void readExactly(),
  );
  watchState(
    store,
    (state) => [
      state.selection,
      state.trace?.id,
      state.trace?.rewritten,
      state.selection !== null && isRecorded(state, state.selection),
      // A run that failed before it recorded anything: the explanation of the one before goes.
      isSettled(state) && !hasRecording(state),
    ],
    () => void explain(),
  );
}

/** The finest level that still fits; each level quarters the cells. */
function levelFor(shape: number[]): number {
  const cells = shape.reduce((product, size) => product * size, 1);
  return Math.max(0, Math.ceil(Math.log(cells / INSPECTED_CELLS) / Math.log(4)));
}
