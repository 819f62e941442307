import type en from "./en.json";

declare module "i18next" {
  interface CustomTypeOptions {
    defaultNS: "translation";
    contextSeparator: "|";
    resources: { translation: typeof en };
  }
}
