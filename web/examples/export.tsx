import { useDownload } from "longhaul-web/react";

export function Export({ fileIds }: { fileIds: number[] }) {
  const { phase, job, requestError, start, cancel, retry, save } = useDownload();
  const button = (label: string, onClick: () => void) => (
    <button type="button" onClick={onClick}>
      {label}
    </button>
  );
  if (requestError) return <p role="alert">{requestError.message}</p>;
  if (phase === "idle") return button("Export", () => start(fileIds));
  if (phase === "ready") return button(`Save ${job?.fileName}`, save);
  if (phase === "failed") return button(`${job?.error} Try again`, retry);
  return button(`${job?.progress ?? 0}%, cancel`, cancel);
}
