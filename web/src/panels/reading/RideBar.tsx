import { useEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import { stepRide, stopsOf } from "../../state/rideStops";
import { whatMattered } from "../../state/whatMattered";
import { useApp, useAppStore } from "../AppContext";
import { Icon, type IconName } from "../Icon";
import { Pieces } from "./Pieces";
import { sayStop } from "./sayStop";
import { sayWord } from "./sayWord";
import { useTelling } from "./useTelling";

/** The button that starts a ride. */
export const RIDE_START = "ride-start";

const STEPS: Record<string, number> = {
  " ": 1,
  ArrowRight: 1,
  ArrowDown: 1,
  ArrowLeft: -1,
  ArrowUp: -1,
  Home: Number.NEGATIVE_INFINITY,
  End: Number.POSITIVE_INFINITY,
};

/** The ride down the token's column: a sentence at each stop, and the way on and back. */
export function RideBar({ stop }: { stop: number }) {
  const { t } = useTranslation();
  const store = useAppStore();
  const telling = useTelling();
  const nextRef = useRef<HTMLButtonElement>(null);
  const { reading, effects, status } = useApp((state) => ({
    reading: state.reading.value,
    effects: state.effects.value,
    status: state.effects.status,
  }));
  useRideKeys();
  useEffect(() => {
    nextRef.current?.focus();
    // Back to where the ride was started, which is only there while there is none.
    return () => void requestAnimationFrame(() => document.getElementById(RIDE_START)?.focus());
  }, []);
  const stops = stopsOf(store.getState());
  const here = stops[stop];
  if (!reading || !here) return null;
  const what = whatMattered(reading, effects, status === "ready");
  const token = telling.tokens[reading.position];
  const step = (steps: number) => store.setState((state) => stepRide(state, steps));
  return (
    <section className="ride" data-testid="ride" data-stop={here.kind} title={t("reading.ride.keys")}>
      <header className="ride-head">
        <h2>{t("reading.ride.title", { word: token ? sayWord(token, t, telling.specialIds) : "" })}</h2>
        <ol className="ride-progress" aria-hidden="true">
          {stops.map((each, at) => (
            <li key={`${each.kind} ${each.boundary} ${each.part}`} data-done={at <= stop} />
          ))}
        </ol>
        <span className="quiet ride-count">
          {t("reading.ride.progress", { stop: stop + 1, count: stops.length })}
        </span>
        <RideButton icon="left" name="back" disabled={stop === 0} onPress={() => step(-1)} />
        <button
          ref={nextRef}
          type="button"
          className="icon-button"
          aria-label={t("reading.ride.next")}
          title={t("reading.ride.next")}
          aria-disabled={stop === stops.length - 1}
          onClick={() => step(1)}
        >
          <Icon name="right" />
        </button>
        <RideButton icon="close" name="end" onPress={() => store.setState({ ride: null })} />
      </header>
      <p className="reading-line" aria-live="polite" aria-atomic="true">
        <Pieces pieces={sayStop(here, reading, what, telling)} />
      </p>
    </section>
  );
}

interface RideButtonProps {
  icon: IconName;
  name: "back" | "end";
  disabled?: boolean;
  onPress(): void;
}

function RideButton({ icon, name, disabled = false, onPress }: RideButtonProps) {
  const { t } = useTranslation();
  const label = t(`reading.ride.${name}`);
  return (
    <button
      type="button"
      className="icon-button"
      aria-label={label}
      title={label}
      disabled={disabled}
      onClick={onPress}
    >
      <Icon name={icon} />
    </button>
  );
}

/** While somebody follows the token, the keys of the page that step and leave belong to the ride. */
function useRideKeys(): void {
  const store = useAppStore();
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
      const { target } = event;
      if (target instanceof HTMLElement && target.matches("textarea, select, input")) return;
      const steps = STEPS[event.key];
      if (event.key === "Escape") store.setState({ ride: null });
      // Space presses a button that has the focus, which at first is that of the next stop.
      else if (steps !== undefined && !pressesButton(event))
        store.setState((state) => stepRide(state, steps));
      else return;
      event.preventDefault();
      event.stopPropagation();
    };
    document.addEventListener("keydown", onKeyDown, { capture: true });
    return () => document.removeEventListener("keydown", onKeyDown, { capture: true });
  }, [store]);
}

function pressesButton({ key, target }: KeyboardEvent): boolean {
  return key === " " && target instanceof HTMLElement && target.closest("button") !== null;
}
