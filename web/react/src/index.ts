export { ArchiveLink, type ArchiveLinkProps } from "./archive-link.js";
export { LonghaulProvider, type LonghaulProviderProps, useLonghaul } from "./context.js";
export { DownloadButton, type DownloadButtonProps } from "./download-button.js";
export { formatBytes, formatMoment, formatSeconds, type Moment } from "./format.js";
export { english, type Labels, labelsOf, type Words } from "./labels.js";
export { ENGLISH, FRENCH, GERMAN, JAPANESE, SPANISH } from "./locales.js";
export { isInProgress, type Phase, phaseOf } from "./phase.js";
export { Announcement, Progress, type ProgressProps, useOnChange } from "./progress.js";
export {
  type DownloadView,
  type Pending,
  type UseDownloadOptions,
  useDownload,
} from "./use-download.js";
export { type Downloads, useDownloads, usePhases } from "./use-downloads.js";
export { type SendRequest, useRequest } from "./use-request.js";
