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
export type ServiceSummary = Schemas["Summary"];
export type ListedJob = Schemas["ListedJob"];
export type ListedJobsPage = Schemas["ListedJobs"];
export type ExploredJob = Schemas["ExploredJob"];
export type TimelineEntry = Schemas["TimelineEntry"];
export type JobActionsResult = Schemas["JobActionsResult"];
export type AuditLogPage = Schemas["AuditLog"];
export type StatisticsSample = Schemas["Sample"];

/** Conditions that must all be met. */
export type JobFilter = Partial<Schemas["JobFilter"]>;
export type JobAction = Schemas["JobActions"]["action"];
/** What an operator does, to the jobs with these IDs or to all that the filter finds. */
export type JobActionsRequest = {
  action: JobAction;
  priority?: Priority;
  /** Only count the jobs that would be changed. */
  dryRun?: boolean;
} & ({ jobIds: readonly string[] } | { filter: JobFilter });

/** Problem details (RFC 9457). */
export type Problem = Schemas["Problem"];

/** A file of a download: its id, or its id and where it goes in the archive. */
export type RequestedFile =
  | number
  | {
      file_id: number;
      /** With `/` between folders; a folder, which ends in `/`, in which the file keeps its name. */
      path?: string | null;
    };

/** Options of a download. */
export type StartOptions = Omit<
  Partial<Schemas["Initiate"]>,
  "file_ids" | "file_id" | "files" | "metadata"
> & {
  /** Echoed back; at most 4 KiB. */
  metadata?: Record<string, unknown>;
};
