import i18next from "i18next";
import { initReactI18next } from "react-i18next";
import en from "./en.json";

/** Every word on screen, by language: a translation is one more file here. */
const RESOURCES = { en: { translation: en } };

export function startWords(language: string): void {
  void i18next.use(initReactI18next).init({
    lng: language,
    fallbackLng: "en",
    resources: RESOURCES,
    // Names of axes and filters contain underscores, which would otherwise separate a context.
    contextSeparator: "|",
    interpolation: { escapeValue: false },
    // A word that a newer server knows and this page does not (an axis, a filter) is shown as it is.
    parseMissingKeyHandler: (key) => key.split(".").at(-1) ?? key,
    // The words are bundled, so there is nothing to wait for before the first render.
    initAsync: false,
  });
}
