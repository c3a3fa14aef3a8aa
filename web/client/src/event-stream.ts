import { Unreachable } from "./errors.js";
import type { Http } from "./http.js";
import { EventParser, type ServerEvent } from "./sse.js";
import { unlessAborted } from "./timing.js";

export interface EventStreamOptions {
  /** Milliseconds until the first byte of the stream must be there; a buffering proxy keeps it. */
  firstByte: number;
  /** Milliseconds without a byte after which the stream counts as dead. */
  silence: number;
  signal: AbortSignal;
  /** Called at the first byte. */
  onOpen: () => void;
  /** Returns true when it has heard enough. */
  onEvent: (event: ServerEvent) => boolean;
}

/**
 * Reads server-sent events until the stream ends. Throws `ApiProblem`, `Unreachable`, or the
 * signal's reason.
 *
 * fetch instead of EventSource: it can send an Authorization header, sees the status of a refusal,
 * and leaves the pace of coming back to us.
 */
export async function readEvents(
  http: Http,
  path: string,
  { firstByte, silence, signal, onOpen, onEvent }: EventStreamOptions,
): Promise<void> {
  const quiet = new AbortController();
  const watchdog = (ms: number) =>
    setTimeout(() => quiet.abort(new Unreachable("The stream is silent")), ms);
  let timer = watchdog(firstByte);
  const stop = AbortSignal.any([signal, quiet.signal]);
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  try {
    const response = await http.send(path, {
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
        if (onEvent(event)) return;
      }
    }
  } finally {
    clearTimeout(timer);
    void reader?.cancel().catch(() => undefined);
  }
}

function readerOf(response: Response): ReadableStreamDefaultReader<Uint8Array> {
  const type = response.headers.get("Content-Type") ?? "";
  if (!response.body || !type.startsWith("text/event-stream")) {
    throw new Unreachable("The answer is no event stream");
  }
  return response.body.getReader();
}

/** The event's data, or null where it is no JSON. */
export function dataOf({ data }: ServerEvent): unknown {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}
