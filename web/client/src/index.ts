export { Download, type DownloadState } from "./download.js";
export { ApiProblem, Unreachable, Unsuccessful } from "./errors.js";
export type { HttpOptions } from "./http.js";
export { isFinished } from "./job.js";
export { Longhaul, type LonghaulOptions } from "./longhaul.js";
export type { Remembered } from "./memory.js";
export { Operator } from "./operator.js";
export type * from "./types.js";
export type { Connection } from "./watch.js";
