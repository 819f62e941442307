import { type ComponentType, lazy, type ReactNode, Suspense, useState } from "react";
import { importAgain } from "./importAgain";
import { PartBoundary } from "./PartBoundary";

interface Waiting<Props> {
  /** While it is on its way. */
  coming?: (props: Props) => ReactNode;
  /** Where it cannot come; otherwise a sentence and a button. */
  failed?: (props: Props) => ReactNode;
}

/** A part of the page that arrives when it is first shown, and that may fail to without taking others with it. */
export function lazyPart<Props extends object>(
  load: () => Promise<{ default: ComponentType<Props> }>,
  { coming = () => null, failed }: Waiting<Props> = {},
): ComponentType<Props> {
  let isBroken = false;
  const loadAgain = importAgain(load);
  const make = () => {
    isBroken = false;
    return lazy(() =>
      loadAgain().catch((error) => {
        isBroken = true;
        throw error;
      }),
    );
  };
  let latest = make();
  const renewed = () => {
    if (isBroken) latest = make();
    return latest;
  };

  return function LazyPart(props: Props) {
    const [Content, setContent] = useState(renewed);
    const retry = () => setContent(renewed());
    return (
      <PartBoundary onRetry={retry} {...(failed ? { fallback: failed(props) } : {})}>
        <Suspense fallback={coming(props)}>
          <Content {...props} />
        </Suspense>
      </PartBoundary>
    );
  };
}
