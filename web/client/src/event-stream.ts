import { Unreachable } from "./errors.js";
import type { Http } from "./http.js";
import { EventParser, type ServerEvent } from "./sse.js";
import { anySignal, unlessAborted } from "./timing.js";

export interface EventStreamOptions {
  /** Timeout of the first byte in milliseconds: behind a buffering proxy it never comes. */
  firstByteTimeout: number;
  /** Milliseconds without a byte after which the stream is considered dead. */
  silenceTimeout: number;
  signal: AbortSignal;
  /** Called at the first byte. */
  onOpen: () => void;
  /** Returns true to end the stream. */
  onEvent: (event: ServerEvent) => boolean;
}

/**
 * Read server-sent events until the stream ends. Throws `ApiProblem`, `Unreachable`, or the
 * signal's reason.
 *
 * Uses fetch instead of EventSource because fetch can send an Authorization header, shows the
 * status of an error, and leaves it to the caller when to reconnect.
 */
export async function readEvents(
  http: Http,
  path: string,
  { firstByteTimeout, silenceTimeout, signal, onOpen, onEvent }: EventStreamOptions,
): Promise<void> {
  const timedOut = new AbortController();
  const watchdog = (ms: number) =>
    setTimeout(() => timedOut.abort(new Unreachable("The stream timed out")), ms);
  let timer = watchdog(firstByteTimeout);
  const stop = anySignal(signal, timedOut.signal);
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
      timer = watchdog(silenceTimeout);
      if (!opened) onOpen();
      opened = true;
      for (const event of parser.feed(decoder.decode(value, { stream: true }))) {
        if (onEvent(event)) return;
      }
    }
  } finally {
    clearTimeout(timer);
    timedOut.abort();
    void reader?.cancel().catch(() => undefined);
  }
}

function readerOf(response: Response): ReadableStreamDefaultReader<Uint8Array> {
  const type = response.headers.get("Content-Type") ?? "";
  if (!response.body || !type.startsWith("text/event-stream")) {
    throw new Unreachable("The response is not an event stream");
  }
  return response.body.getReader();
}

/** Return the event's data, or null if it is not JSON. */
export function dataOf({ data }: ServerEvent): unknown {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}
