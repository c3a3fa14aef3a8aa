export { ArchiveLink, type ArchiveLinkProps } from "./archive-link.js";
export { LonghaulProvider, type LonghaulProviderProps, useLonghaul } from "./context.js";
export { DownloadButton, type DownloadButtonProps } from "./download-button.js";
export { formatBytes, formatSeconds } from "./format.js";
export { ENGLISH, type Labels } from "./labels.js";
export { isInProgress, type Phase, phaseOf } from "./phase.js";
export { Announcement, Progress, type ProgressProps } from "./progress.js";
export { type DownloadView, type Pending, useDownload } from "./use-download.js";
export { type Downloads, useDownloads } from "./use-downloads.js";
