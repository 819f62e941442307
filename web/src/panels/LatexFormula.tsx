import { lazyPart } from "./lazyPart";

interface FormulaProps {
  latex: string;
  block: boolean;
}

const Typeset = lazyPart<FormulaProps>(() => import("./Typeset"), {
  coming: () => <span className="formula-coming" />,
  // If the typesetter cannot be loaded, the LaTeX itself is shown.
  failed: ({ latex }) => <code className="formula mono">{latex}</code>,
});

/** A formula in LaTeX, typeset once the typesetter has arrived; nothing else waits for it. */
export function LatexFormula({ latex, block = false }: { latex: string; block?: boolean }) {
  return <Typeset latex={latex} block={block} />;
}
