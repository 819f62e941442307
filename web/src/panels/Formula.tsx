import { lazy, Suspense } from "react";

const Typeset = lazy(() => import("./Typeset"));

/** A formula in LaTeX, typeset once the typesetter has arrived; nothing else waits for it. */
export function Formula({ latex, block = false }: { latex: string; block?: boolean }) {
  return (
    <Suspense fallback={<span className="formula-coming" />}>
      <Typeset latex={latex} block={block} />
    </Suspense>
  );
}
