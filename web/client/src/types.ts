export type JobStatus = "queued" | "processing" | "completed" | "failed" | "cancelled" | "expired";

export type Priority = "low" | "normal" | "high";

/** A job as it is at one version. Times are ISO 8601 in UTC, sizes are bytes. */
export interface Job {
  jobId: string;
  status: JobStatus;
  /** Grows by one at every change; the one cursor of every transport. */
  version: number;
  /** Per cent; never goes back within an attempt. */
  progress: number;
  totalFiles: number | null;
  processedFiles: number | null;
  totalBytes: number | null;
  processedBytes: number | null;
  queuePosition: number | null;
  estimatedSecondsRemaining: number | null;
  estimatedCompletion: string | null;
  /** Signed for this answer: a credential. Never store it. */
  downloadUrl: string | null;
  /** When `downloadUrl` ends. */
  expiresAt: string | null;
  fileName: string | null;
  fileSize: number | null;
  contentType: string | null;
  checksum: string | null;
  error: string | null;
  errorCode: string | null;
  retryable: boolean | null;
  retriesRemaining: number | null;
  attempt: number;
  maxAttempts: number;
  retryAt: string | null;
  priority: Priority;
  metadata: Record<string, unknown>;
  createdAt: string;
  startedAt: string | null;
  updatedAt: string;
  completedAt: string | null;
}

export interface FileReport {
  file_id: number;
  state: "pending" | "done" | "missing" | "failed";
  size: number | null;
  fileName: string | null;
  error: string | null;
  errorCode: string | null;
}

export interface FilesPage {
  jobId: string;
  totalFiles: number;
  files: FileReport[];
  nextCursor: string | null;
}

export interface JobsPage {
  jobs: Job[];
  nextCursor: string | null;
}

export interface Result {
  downloadUrl: string;
  expiresAt: string;
  fileName: string;
  fileSize: number;
  contentType: string;
}

export interface CheckedFile {
  file_id: number;
  available: boolean;
  size: number | null;
  fileName: string | null;
}

export interface QueueStatistics {
  waiting: Record<Priority, number>;
  totalWaiting: number;
  oldestWaitSeconds: number | null;
  processing: number;
  retrying: number;
  completed: number;
  failed: number;
  cancelled: number;
  deadLetters: number;
  workers: number;
  /** Milliseconds from creation to completion, over the newest completed jobs. */
  durations: { p50: number | null; p95: number | null; p99: number | null };
  /** Whether the queue is paused; older services do not say. */
  paused?: boolean;
  /** 0 to 1. */
  successRate: number | null;
}

export interface Health {
  status: "healthy" | "unhealthy";
  checks: Record<string, string>;
}

/** A job that failed for good although another attempt might help. */
export type DeadLetter = Pick<Job, "jobId"> & Partial<Job>;

export interface DeadLettersPage {
  deadLetters: DeadLetter[];
  nextCursor: string | null;
}

/** Problem details (RFC 9457). */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: string;
  retryable: boolean;
  requestId: string | null;
  errors?: Record<string, string[]>;
}

export interface StartOptions {
  priority?: Priority;
  /** Whether a file that does not exist fails the job or is left out and reported. */
  onMissing?: "fail" | "skip";
  fileName?: string;
  callbackUrl?: string;
  metadata?: Record<string, unknown>;
}
