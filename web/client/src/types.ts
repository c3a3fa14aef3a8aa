import type { components } from "./schema.gen.js";

type Schemas = components["schemas"];

/** A version of a job. Times are ISO 8601 in UTC, sizes are bytes. */
export type Job = Schemas["Job"];
export type JobStatus = Job["status"];
export type Priority = Job["priority"];

export type FileReport = Schemas["FileReport"];
export type FilesPage = Schemas["Files"];
export type JobsPage = Schemas["Jobs"];
export type Result = Schemas["Result"];
export type CheckedFile = Schemas["Check"];
export type Usage = Schemas["Usage"];
export type QueueStatistics = Schemas["Statistics"];
export type Health = Schemas["Health"];
export type DeadLetter = Schemas["DeadLetter"];
export type DeadLettersPage = Schemas["DeadLetters"];
export type Overview = Schemas["Overview"];
export type Worker = Schemas["Worker"];
export type FailedJob = Schemas["FailedJob"];
export type Analytics = Schemas["Analytics"];

/** Problem details (RFC 9457). */
export type Problem = Schemas["Problem"];

/** Options of a download. */
export type StartOptions = Omit<
  Partial<Schemas["Initiate"]>,
  "file_ids" | "file_id" | "metadata"
> & {
  /** Echoed back; at most 4 KiB. */
  metadata?: Record<string, unknown>;
};
