import { useTranslation } from "react-i18next";
import { startRide, stopsOf } from "../../state/rideStops";
import { useApp, useAppStore } from "../AppContext";
import { Icon } from "../Icon";
import { RIDE_START } from "./RideBar";

/** Starts the ride down the token's column. */
export function RideStart() {
  const { t } = useTranslation();
  const store = useAppStore();
  const ready = useApp((state) => stopsOf(state).length > 0);
  return (
    <button
      type="button"
      id={RIDE_START}
      className="button reading-ride"
      data-testid="ride-start"
      disabled={!ready}
      title={ready ? `${t("reading.ride.startHint")} (R)` : t("reading.ride.coming")}
      onClick={() => store.setState(startRide)}
    >
      <Icon name="follow" />
      {t("reading.ride.start")}
    </button>
  );
}
