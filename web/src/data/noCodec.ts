import i18next from "i18next";

/** Stands in for a codec where no chunk is compressed: in an export that is one file. */
export default {
  fromConfig(): never {
    throw new Error(i18next.t("exported.compressed"));
  },
};
