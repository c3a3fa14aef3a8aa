import { ApiProblem } from "@longhaul/client";
import { useCallback, useEffect, useState } from "react";
import { whileVisible } from "../ui/while-visible.js";

export interface Polled<T> {
  /** The newest response, kept while later requests fail. */
  data: T | null;
  error: Error | null;
  /** When the newest response arrived, in milliseconds since 1970. */
  at: number | null;
  /** Send the request now. */
  refresh(): void;
}

const MAX_INTERVAL = 30_000;

/**
 * Send a request every `interval` milliseconds while the page is visible, less often while requests
 * fail. With null, send none.
 */
export function usePolled<T>(
  request: (signal: AbortSignal) => Promise<T>,
  interval: number | null,
): Polled<T> {
  const [state, setState] = useState<Omit<Polled<T>, "refresh">>({
    data: null,
    error: null,
    at: null,
  });
  const [round, setRound] = useState(0);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new round restarts the effect.
  useEffect(() => {
    if (interval === null) return;
    return whileVisible((signal) => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      let wait = interval;
      const poll = async () => {
        try {
          const data = await request(signal);
          wait = interval;
          setState({ data, error: null, at: Date.now() });
        } catch (error) {
          if (signal.aborted) return;
          wait = Math.min(MAX_INTERVAL, wait * 2);
          setState((previous) => ({ ...previous, error: error as Error }));
          if (isFinal(error)) return;
        }
        if (!signal.aborted) timer = setTimeout(poll, wait);
      };
      signal.addEventListener("abort", () => clearTimeout(timer));
      void poll();
    });
  }, [request, interval, round]);
  const refresh = useCallback(() => setRound((number) => number + 1), []);
  return { ...state, refresh };
}

/** Return whether a retry is pointless: no access, or no such endpoint. */
export function isFinal(error: unknown): boolean {
  return error instanceof ApiProblem && error.isPermanent;
}
