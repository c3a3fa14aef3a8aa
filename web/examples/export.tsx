import { useDownload } from "longhaul-web/react";

export function Export({ fileIds }: { fileIds: number[] }) {
  const { phase, job, problem, requestError, start, cancel, retry, save } = useDownload();
  const button = (label: string, onClick: () => void) => (
    <button type="button" onClick={onClick}>
      {label}
    </button>
  );
  const action = () => {
    if (phase === "starting") return "Starting";
    if (phase === "queued" || phase === "processing")
      return button(`${job?.progress ?? 0}%, cancel`, cancel);
    if (phase === "ready") return button(`Save ${job?.fileName}`, save);
    if (phase === "failed" && job?.retryable) return button("Try again", retry);
    return button("Export", () => start(fileIds));
  };
  const error = requestError?.message ?? problem?.message ?? job?.error;
  return (
    <p>
      {action()} {error && <span role="alert">{error}</span>}
    </p>
  );
}
