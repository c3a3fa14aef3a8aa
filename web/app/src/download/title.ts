import type { StoredDownload } from "@longhaul/client";
import { type DownloadView, useLonghaul } from "@longhaul/react";
import { useEffect, useState } from "react";
import { plainName } from "../ui/file-name.js";
import { formatCount, formatNumber } from "../ui/format.js";

/** What the page knows about a download besides its job. */
export type Entry = Pick<StoredDownload, "jobId" | "fileIds" | "startedAt"> &
  Partial<StoredDownload>;

/** The title of a download, such as "invoice.pdf" and "and 7 more". */
export interface Title {
  name: string;
  more: string;
}

export function textOf({ name, more }: Title): string {
  return [plainName(name), more].filter(Boolean).join(" ");
}

/** Return a title that tells the download apart from others: the archive's name, or its first file. */
export function useTitleOf(view: DownloadView, entry: Entry): Title {
  const { job, jobId } = view;
  const total = job?.totalFiles ?? entry.fileIds.length;
  const firstFile = useFirstFile(view, entry.firstFile);
  const archive = job?.fileName;
  if (archive && !archive.includes(jobId ?? "") && total > 1) return { name: archive, more: "" };
  const [firstId] = entry.fileIds;
  const name = firstFile ?? archive ?? (firstId !== undefined ? `File ${firstId}` : null);
  if (!name) return { name: formatCount(total, "file", "files"), more: "" };
  return { name, more: total > 1 ? `and ${formatNumber(total - 1)} more` : "" };
}

/** Return the name of the first file as soon as the API knows it. */
function useFirstFile({ jobId, job }: DownloadView, known: string | undefined): string | null {
  const longhaul = useLonghaul();
  const [name, setName] = useState<string | null>(known ?? null);
  const mayKnow = name === null && job !== null && (job.processedFiles ?? 0) > 0;
  useEffect(() => {
    if (!mayKnow || !jobId) return;
    let unmounted = false;
    longhaul
      .open(jobId)
      .files(null, 1)
      .then(
        ({ files: [first] }) => {
          if (!unmounted && first?.fileName) setName(first.fileName);
        },
        () => undefined,
      );
    return () => {
      unmounted = true;
    };
  }, [longhaul, jobId, mayKnow]);
  return name;
}
