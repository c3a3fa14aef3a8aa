import { ApiProblem } from "./errors.js";
import { dataOf, type EventStreamOptions, readEvents } from "./event-stream.js";
import type { Http } from "./http.js";
import { isFinished, jobIn } from "./job.js";
import type { Job } from "./types.js";

export interface StreamOptions extends Omit<EventStreamOptions, "onEvent"> {
  onJob: (job: Job) => void;
}

/** Follow the job by server-sent events until it is finished or the stream ends. */
export function stream(
  http: Http,
  jobId: string,
  since: number,
  { onJob, ...options }: StreamOptions,
): Promise<void> {
  return readEvents(http, `/v1/download/subscribe/${jobId}?lastEventId=${since}`, {
    ...options,
    onEvent: (event) => {
      const job = jobIn(dataOf(event));
      if (job) onJob(job);
      return job !== null && isFinished(job);
    },
  });
}

/**
 * Get the job. With `wait`, the server holds the response for up to `wait` seconds until the job is
 * newer than version `since`; null if it is not.
 */
export async function status(
  http: Http,
  jobId: string,
  since: number,
  wait: number,
  signal: AbortSignal,
): Promise<Job | null> {
  const query = wait ? `?wait=${wait}&since=${since}` : "";
  try {
    const body = await http.json(`/v1/download/status/${jobId}${query}`, {
      signal,
      timeout: wait * 1000 + 10_000,
    });
    return jobIn(body);
  } catch (error) {
    if (error instanceof ApiProblem && error.status === 410 && error.job) return error.job;
    throw error;
  }
}
