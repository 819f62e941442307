import { type KeyboardEvent, useEffect, useId, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { sayPoint } from "../state/sayName";
import { type Goal, searchPlaces } from "../state/searchPlaces";
import { useApp, useAppStore, useCommands } from "./AppContext";
import { goTo } from "./goTo";
import { plainToken } from "./splitToken";

/** A longer list would be read by nobody; what it leaves out is counted. */
const MOST_LISTED = 500;

/** Finds a matrix, a cell, a weight, a block or a token by its address or in words; Enter goes there. */
export function SearchDialog() {
  const open = useApp((state) => state.searching);
  return open ? <SearchForm /> : null;
}

function SearchForm() {
  const { t } = useTranslation();
  const store = useAppStore();
  const commands = useCommands();
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  const [query, setQuery] = useState("");
  const [chosen, setChosen] = useState(0);
  const all = searchPlaces(store.getState(), query);
  const places = all.slice(0, MOST_LISTED);
  const at = Math.min(chosen, places.length - 1);

  useEffect(() => ref.current?.showModal(), []);
  useEffect(() => {
    // Newer browsers answer with a promise, which React would call to clean up.
    document.getElementById(`${id}-${at}`)?.scrollIntoView({ block: "nearest" });
  }, [id, at]);
  const close = () => store.setState({ searching: false });
  const choose = (place: Goal | undefined) => {
    if (!place) return;
    close();
    goTo(place, store, commands);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1 };
    const step = steps[event.key];
    if (step !== undefined && places.length > 0) setChosen((at + step + places.length) % places.length);
    else if (event.key === "Enter" && !event.nativeEvent.isComposing) choose(places[at]);
    else return;
    event.preventDefault();
  };

  return (
    <dialog
      ref={ref}
      className="search-dialog panel"
      data-testid="search"
      aria-label={t("search.title")}
      onClose={close}
      onPointerDown={(event) => event.target === ref.current && close()}
    >
      <input
        className="input"
        data-testid="search-input"
        type="search"
        role="combobox"
        aria-expanded={places.length > 0}
        aria-controls={`${id}-list`}
        aria-activedescendant={places.length > 0 ? `${id}-${at}` : undefined}
        aria-label={t("search.title")}
        placeholder={t("search.placeholder")}
        autoComplete="off"
        spellCheck={false}
        value={query}
        onChange={(event) => {
          setQuery(event.target.value);
          setChosen(0);
        }}
        onKeyDown={onKeyDown}
      />
      <div id={`${id}-list`} role="listbox" className="search-list" aria-label={t("search.found")}>
        {places.map((place, index) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: the field above has the keys of the list
          <div
            key={JSON.stringify(place)}
            id={`${id}-${index}`}
            role="option"
            tabIndex={-1}
            aria-selected={index === at}
            className="search-row"
            onPointerMove={() => setChosen(index)}
            onClick={() => choose(place)}
          >
            <GoalName place={place} />
          </div>
        ))}
      </div>
      <p className="hint" role="status">
        {places.length > 0
          ? `${t("search.count", { count: all.length })} ${all.length > places.length ? t("search.more", { count: places.length }) : t("search.keys")}`
          : t(query.trim() === "" ? "search.start" : "search.none")}
      </p>
    </dialog>
  );
}

function GoalName({ place }: { place: Goal }) {
  const { t } = useTranslation();
  const token = useApp((state) => (place.kind === "token" ? state.trace?.tokens[place.position] : null));
  switch (place.kind) {
    case "block":
      return <span>{t("outline.block", { index: place.block })}</span>;
    case "token":
      return (
        <>
          <span className="mono">{plainToken(token)}</span>
          <span className="quiet">{t("timeline.position", { position: place.position })}</span>
        </>
      );
    default:
      return (
        <>
          <span>{place.point === null ? t("search.weight") : sayPoint(place.point)}</span>
          <span className="quiet mono">
            {place.cell.address}
            {place.kind === "cell" && ` [${place.cell.index.join(", ")}]`}
          </span>
        </>
      );
  }
}
