import type { Commands } from "../state/Commands";
import type { AppStore } from "../state/createAppStore";
import type { Goal } from "../state/searchPlaces";

/** Shows a place: in the picture, and what is in it beside it. */
export function goTo(place: Goal, store: AppStore, commands: Commands): void {
  switch (place.kind) {
    case "block":
      store.setState({ selection: null });
      commands.focus(place.addresses);
      return;
    case "token":
      store.setState({ position: place.position });
      return;
    default:
      store.setState({ selection: place.cell, sheet: "inspector" });
      commands.focus([place.cell.address], place.kind === "cell" ? place.cell : undefined);
  }
}
