import { type MouseEvent, type ReactNode, type Ref, useCallback } from "react";
import type { DownloadView } from "./use-download.js";

export interface ArchiveLinkProps {
  view: DownloadView;
  className?: string;
  children: ReactNode;
  ref?: Ref<HTMLAnchorElement>;
}

/** Milliseconds of life that a link must have left to be used. */
const MARGIN = 30_000;

/** A link to the finished archive that signs itself anew when its time is over. */
export function ArchiveLink({ view, className, children, ref }: ArchiveLinkProps) {
  const { job, save } = view;
  const follow = useCallback(
    (event: MouseEvent) => {
      const ends = Date.parse(job?.expiresAt ?? "");
      if (job?.downloadUrl && ends - Date.now() > MARGIN) return;
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
