import { ApiProblem, Unreachable } from "./errors.js";
import type { Http } from "./http.js";
import { isFinished, jobIn } from "./job.js";
import { EventParser } from "./sse.js";
import { unlessAborted } from "./timing.js";
import type { Job } from "./types.js";

export interface StreamOptions {
  /** Milliseconds until the first byte of the stream must be there; a buffering proxy keeps it. */
  firstByte: number;
  /** Milliseconds without a byte after which the stream counts as dead; heartbeats come every 15 s. */
  silence: number;
  signal: AbortSignal;
  /** Called at the first byte. */
  onOpen: () => void;
  onJob: (job: Job) => void;
}

/**
 * Follow the job by server-sent events until the stream ends.
 *
 * fetch instead of EventSource: it can send an Authorization header, sees the status of a refusal,
 * and leaves the pace of coming back to us.
 */
export async function stream(
  http: Http,
  jobId: string,
  since: number,
  { firstByte, silence, signal, onOpen, onJob }: StreamOptions,
): Promise<void> {
  const quiet = new AbortController();
  const watchdog = (ms: number) =>
    setTimeout(() => quiet.abort(new Unreachable("The stream is silent")), ms);
  let timer = watchdog(firstByte);
  const stop = AbortSignal.any([signal, quiet.signal]);
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  try {
    const response = await http.send(`/v1/download/subscribe/${jobId}?lastEventId=${since}`, {
      headers: { Accept: "text/event-stream" },
      signal: stop,
    });
    reader = readerOf(response);
    const decoder = new TextDecoder();
    const parser = new EventParser();
    for (let opened = false; ; ) {
      const { value, done } = await unlessAborted(reader.read(), stop);
      if (done) return;
      clearTimeout(timer);
      timer = watchdog(silence);
      if (!opened) onOpen();
      opened = true;
      for (const event of parser.feed(decoder.decode(value, { stream: true }))) {
        const job = jobIn(parsed(event.data));
        if (job) onJob(job);
        if (job && isFinished(job)) return;
      }
    }
  } finally {
    clearTimeout(timer);
    void reader?.cancel().catch(() => undefined);
  }
}

/**
 * The job as it is, held back for up to `wait` seconds until it is newer than `since`; null when
 * there is nothing newer.
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

function readerOf(response: Response): ReadableStreamDefaultReader<Uint8Array> {
  const type = response.headers.get("Content-Type") ?? "";
  if (!response.body || !type.startsWith("text/event-stream")) {
    throw new Unreachable("The answer is no event stream");
  }
  return response.body.getReader();
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
