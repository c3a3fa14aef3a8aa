import { type MouseEvent, type ReactNode, type Ref, useCallback } from "react";
import type { DownloadView } from "./use-download.js";

export interface ArchiveLinkProps {
  view: DownloadView;
  className?: string;
  children: ReactNode;
  ref?: Ref<HTMLAnchorElement>;
}

/** Milliseconds that the URL must still be valid. */
const MIN_VALIDITY = 30_000;

/** A link to the finished archive that gets a new signed URL when the old one has expired. */
export function ArchiveLink({ view, className, children, ref }: ArchiveLinkProps) {
  const { job, save } = view;
  const follow = useCallback(
    (event: MouseEvent) => {
      const ends = Date.parse(job?.expiresAt ?? "");
      if (job?.downloadUrl && ends - Date.now() > MIN_VALIDITY) return;
      event.preventDefault();
      void save();
    },
    [job, save],
  );
  return (
    <a className={className} href={job?.downloadUrl ?? "#"} onClick={follow} ref={ref} download>
      {children}
    </a>
  );
}
