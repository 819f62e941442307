import { useTranslation } from "react-i18next";
import { formatNumber } from "../formatNumber";
import type { HeadViewProps } from "./HeadViewProps";
import { formatScore, rankHeads, SCORES } from "./headScores";

/** Heads of a large model are many; the first ones are what is looked for. */
const SHOWN_ROWS = 60;

/** The heads as words and numbers, those with the largest score first: for screen readers, and for everybody else. */
export function HeadsTable({ table, score, shown, onHover, onChoose }: HeadViewProps) {
  const { t } = useTranslation();
  const ranked = rankHeads(table, score);
  return (
    <div className="heads-table" data-testid="heads-table">
      <table>
        <caption className="quiet">
          {t("heads.ranked", {
            score: t(`heads.scores.${score}`),
            shown: Math.min(SHOWN_ROWS, ranked.length),
            count: table.rows.length,
          })}
        </caption>
        <thead>
          <tr>
            <th scope="col">{t("heads.head")}</th>
            {SCORES.map((name) => (
              <th key={name} scope="col" aria-sort={name === score ? "descending" : undefined}>
                {t(`heads.short.${name}`)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {ranked.slice(0, SHOWN_ROWS).map((row) => (
            <tr
              key={`${row.block}.${row.head}`}
              data-shown={(row.block === shown?.block && row.head === shown.head) || undefined}
            >
              <th scope="row">
                <button
                  type="button"
                  className="heads-link mono"
                  aria-label={t("heads.name", { block: row.block, head: row.head })}
                  onFocus={() => onHover(row)}
                  onBlur={() => onHover(null)}
                  onClick={() => onChoose({ block: row.block, head: row.head })}
                >
                  {row.block}.{row.head}
                </button>
              </th>
              {SCORES.map((name) => (
                <td key={name} className="mono">
                  {name === "worth" ? formatNumber(row.values.worth, 2) : formatScore(row.values[name])}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
