import { Component, type ReactNode } from "react";
import { useTranslation } from "react-i18next";
import { useApp } from "./AppContext";

interface PartBoundaryProps {
  /** Called before the part is tried again. */
  onRetry?: () => void;
  /** In place of the sentence and the button. */
  fallback?: ReactNode;
  children: ReactNode;
}

/** Keeps the failure of one part of the page to that part. It is tried again by hand, and when the server is back. */
export function PartBoundary(props: PartBoundaryProps) {
  const online = useApp((state) => state.connection === "online");
  return <Boundary {...props} online={online} />;
}

class Boundary extends Component<PartBoundaryProps & { online: boolean }, { failed: boolean }> {
  override state = { failed: false };

  static getDerivedStateFromError() {
    return { failed: true };
  }

  override componentDidUpdate(before: { online: boolean }) {
    if (this.state.failed && this.props.online && !before.online) this.retry();
  }

  readonly retry = () => {
    this.props.onRetry?.();
    this.setState({ failed: false });
  };

  override render() {
    if (!this.state.failed) return this.props.children;
    const { fallback } = this.props;
    return fallback === undefined ? <PartFailure onRetry={this.retry} /> : fallback;
  }
}

function PartFailure({ onRetry }: { onRetry: () => void }) {
  const { t } = useTranslation();
  return (
    <div className="notice" role="alert" data-testid="part-failure">
      <p>{t("part.failed")}</p>
      <button type="button" className="button" onClick={onRetry}>
        {t("part.retry")}
      </button>
    </div>
  );
}
