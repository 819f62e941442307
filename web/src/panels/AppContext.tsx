import { createContext, type ReactNode, useContext } from "react";
import { useStore } from "zustand";
import { useShallow } from "zustand/react/shallow";
import type { AppState } from "../state/AppState";
import type { Commands } from "../state/Commands";
import type { AppStore } from "../state/createAppStore";

interface AppParts {
  store: AppStore;
  commands: Commands;
}

const AppContext = createContext<AppParts | null>(null);

export function AppProvider({ store, commands, children }: AppParts & { children: ReactNode }) {
  return <AppContext value={{ store, commands }}>{children}</AppContext>;
}

function useParts(): AppParts {
  const parts = useContext(AppContext);
  if (!parts) throw new Error("AppProvider is missing");
  return parts;
}

/** What `select` picks of the state; objects and lists are compared one level deep. */
export function useApp<Picked>(select: (state: AppState) => Picked): Picked {
  return useStore(useParts().store, useShallow(select));
}

export function useAppStore(): AppStore {
  return useParts().store;
}

export function useCommands(): Commands {
  return useParts().commands;
}
