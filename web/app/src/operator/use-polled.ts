import { ApiProblem } from "@longhaul/client";
import { useCallback, useEffect, useState } from "react";
import { whileVisible } from "../ui/while-visible.js";

export interface Polled<T> {
  /** The newest answer, kept while later ones fail. */
  data: T | null;
  error: Error | null;
  /** When the newest answer came, in milliseconds since 1970. */
  at: number | null;
  /** Ask now. */
  refresh(): void;
}

const LONGEST = 30_000;

/**
 * Asks every `every` milliseconds while the page is seen, less often while answers fail; null: not
 * at all.
 */
export function usePolled<T>(
  ask: (signal: AbortSignal) => Promise<T>,
  every: number | null,
): Polled<T> {
  const [state, setState] = useState<Omit<Polled<T>, "refresh">>({
    data: null,
    error: null,
    at: null,
  });
  const [round, setRound] = useState(0);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new round begins anew.
  useEffect(() => {
    if (every === null) return;
    return whileVisible((signal) => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      let wait = every;
      const look = async () => {
        try {
          const data = await ask(signal);
          wait = every;
          setState({ data, error: null, at: Date.now() });
        } catch (error) {
          if (signal.aborted) return;
          wait = Math.min(LONGEST, wait * 2);
          setState((known) => ({ ...known, error: error as Error }));
          if (isFinal(error)) return;
        }
        if (!signal.aborted) timer = setTimeout(look, wait);
      };
      signal.addEventListener("abort", () => clearTimeout(timer));
      void look();
    });
  }, [ask, every, round]);
  const refresh = useCallback(() => setRound((number) => number + 1), []);
  return { ...state, refresh };
}

/** Whether asking again is pointless: not allowed, or not there. */
export function isFinal(error: unknown): boolean {
  return error instanceof ApiProblem && [401, 403, 404, 405].includes(error.status);
}
