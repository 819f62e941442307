import { useTranslation } from "react-i18next";
import type { Cell } from "../layout/Cell";
import { jumpFrom } from "../state/jumpFrom";
import { blockOf } from "../state/searchPlaces";
import { findSite } from "../state/selectors";
import { useApp, useAppStore, useCommands } from "./AppContext";
import { Icon } from "./Icon";

/** To the same cell of the blocks before and after. */
function BlockSteps() {
  const { t } = useTranslation();
  const store = useAppStore();
  return (["previousBlock", "nextBlock"] as const).map((jump) => (
    <button
      key={jump}
      type="button"
      className="crumb-step"
      data-testid={jump}
      aria-label={t(`inspector.jumps.${jump}`)}
      title={t(`inspector.jumps.${jump}`)}
      onClick={() => {
        const selection = jumpFrom(store.getState(), jump);
        if (selection) store.setState({ selection });
      }}
    >
      <Icon name={jump === "nextBlock" ? "down" : "up"} />
    </button>
  ));
}

/** The way from the model to the selected cell; each part of it can be gone back to. */
export function Breadcrumbs({ cell }: { cell: Cell }) {
  const { t } = useTranslation();
  const store = useAppStore();
  const commands = useCommands();
  const { title, block } = useApp((state) => {
    const isSite = findSite(state.anatomy, cell.address) !== null;
    const index = isSite ? blockOf(cell.address) : null;
    return {
      title: state.anatomy?.title ?? "",
      block: state.anatomy?.blocks.find((each) => each.index === index) ?? null,
    };
  });
  const crumbs = [
    { label: title, hint: t("toolbar.fit"), go: commands.fit },
    block && {
      label: t("outline.block", { index: block.index }),
      hint: t("crumbs.block", { index: block.index }),
      go: () => commands.focus(block.sites.map((site) => site.address)),
    },
    { label: cell.address, hint: t("inspector.focus"), go: () => commands.focus([cell.address]) },
    {
      label: `[${cell.index.join(", ")}]`,
      hint: t("crumbs.cell"),
      go: () => commands.focus([cell.address], store.getState().selection ?? cell),
    },
  ].filter((crumb) => crumb !== null);
  return (
    <nav className="crumbs" aria-label={t("crumbs.title")}>
      <ol>
        {crumbs.map(({ label, hint, go }, at) => (
          <li key={at === 0 ? "model" : label} className={at === 2 || !block ? "mono" : undefined}>
            <button
              type="button"
              title={hint}
              aria-current={at === crumbs.length - 1 ? "location" : undefined}
              onClick={go}
            >
              {label}
            </button>
            {at === 1 && block && <BlockSteps />}
          </li>
        ))}
      </ol>
    </nav>
  );
}
