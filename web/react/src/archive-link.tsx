import type { MouseEvent, ReactNode, Ref } from "react";
import type { DownloadView } from "./use-download.js";

export interface ArchiveLinkProps {
  view: DownloadView;
  className?: string;
  /** The id of an element that describes the archive. */
  describedBy?: string;
  children: ReactNode;
  linkRef?: Ref<HTMLAnchorElement>;
  /** The accessible name, if the text alone does not say which archive it is. */
  label?: string;
}

/**
 * A link that saves the finished archive and never leaves the page, also if the storage responds with
 * an error. It gets a new signed URL when the old one has expired.
 */
export function ArchiveLink({
  view,
  className,
  describedBy,
  label,
  children,
  linkRef,
}: ArchiveLinkProps) {
  const save = (event: MouseEvent) => {
    // With a key, as for a new tab, the browser follows the link itself.
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    void view.save();
  };
  return (
    <a
      className={className}
      href={view.job?.downloadUrl ?? "#"}
      onClick={save}
      ref={linkRef}
      aria-label={label}
      aria-describedby={describedBy}
      download
    >
      {children}
    </a>
  );
}
