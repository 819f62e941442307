import { fetchFromServer, pathOfId, readRefusal } from "./fetchFromServer";
import type { Source } from "./Source";
import { serverAddress } from "./serverAddress";
import {
  fetchDistribution,
  fetchEffects,
  fetchExplanation,
  fetchHeads,
  fetchReading,
  fetchRows,
  fetchWithout,
} from "./serverApi";

/** Answers from the running server. */
export const liveSource: Source = {
  readDistribution: fetchDistribution,
  explain: fetchExplanation,
  readReading: fetchReading,
  readEffects: fetchEffects,
  readWithout: fetchWithout,
  readHeads: fetchHeads,
  readRows: fetchRows,
  holds: () => true,
  storeUrl(store) {
    const path = store.kind === "recording" ? `traces/${store.traceId}` : `models/${pathOfId(store.modelId)}`;
    return serverAddress(`/api/${path}/zarr`);
  },
  async fetchKey(key) {
    const response = await fetchFromServer(key);
    if (!response.ok) throw await readRefusal(response);
    return response;
  },
};
