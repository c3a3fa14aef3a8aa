import { useDownload } from "@longhaul/react";

export function Export({ fileIds }: { fileIds: number[] }) {
  const { phase, job, refusal, start, cancel, retry, save } = useDownload();
  const button = (words: string, onClick: () => void) => (
    <button type="button" onClick={onClick}>
      {words}
    </button>
  );
  if (refusal) return <p role="alert">{refusal.message}</p>;
  if (phase === "idle") return button("Export", () => start(fileIds));
  if (phase === "ready") return button(`Save ${job?.fileName}`, save);
  if (phase === "failed") return button(`${job?.error} Try again`, retry);
  return button(`${job?.progress ?? 0} %, cancel`, cancel);
}
