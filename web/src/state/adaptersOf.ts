import type { AppState } from "./AppState";

export interface AdapterChoice {
  modelId: string;
  /** What the adapter is called; null for the model without one. */
  name: string | null;
}

/** The model on screen without an adapter, and with each that there is for it; nothing where there is none. */
export function adaptersOf({
  models,
  anatomy,
  origin,
  shapes,
}: Pick<AppState, "models" | "anatomy" | "origin" | "shapes">): AdapterChoice[] {
  if (!anatomy || origin === "exported" || shapes.length > 0) return [];
  const base = models.find((model) => model.model_id === anatomy.model_id)?.base ?? anatomy.model_id;
  const over = models.filter((model) => model.base === base);
  if (over.length === 0) return [];
  const named = over.map(({ model_id }) => ({ modelId: model_id, name: model_id.slice(base.length + 1) }));
  return [{ modelId: base, name: null }, ...named];
}
