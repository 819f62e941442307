import type { Sampling } from "./schema.generated";

/** What a page can set of how a token is drawn, its seed aside; the rest of `Sampling` is for programs. */
const FILTER_SETTINGS = [
  "temperature",
  "top_k",
  "top_p",
  "min_p",
  "typical_p",
  "repetition_penalty",
  "presence_penalty",
  "frequency_penalty",
] as const;

type FilterSettings = Pick<Sampling, (typeof FILTER_SETTINGS)[number]>;

export function filterSettings(sampling: Sampling): FilterSettings {
  return Object.fromEntries(FILTER_SETTINGS.map((name) => [name, sampling[name]])) as FilterSettings;
}
