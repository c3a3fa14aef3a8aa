import type {
  Connection,
  FailedJob,
  Overview,
  OverviewListener,
  QueueStatistics,
  ServiceSummary,
  Worker,
} from "@longhaul/client";
import { useLonghaul } from "@longhaul/react";
import { useCallback, useEffect, useState } from "react";
import { whileVisible } from "../ui/while-visible.js";
import { usePolled } from "./use-polled.js";

export interface OverviewView {
  statistics: QueueStatistics | null;
  /** Null until loaded, and for users without access. */
  workers: readonly Worker[] | null;
  failures: readonly FailedJob[] | null;
  /** Null until loaded, for users without access, and from servers of the previous release. */
  summary: ServiceSummary | null;
  /** Whether the user may use the API for operators; false until that is known. */
  isOperator: boolean;
  /** When the newest data arrived, in milliseconds since 1970. */
  at: number | null;
  connection: Connection;
  /** Why there are currently no updates. */
  error: Error | null;
  /** Why the user sees only the statistics. */
  accessError: Error | null;
  /** Load the data now. */
  refresh(): void;
}

const STATISTICS_INTERVAL = 2_000;

/** Watch the overview; for users who are not operators, poll the statistics. */
export function useOverview(): OverviewView {
  const { operator } = useLonghaul();
  const { overview, at, connection, error, listener } = useOverviewState();
  const [accessError, setAccessError] = useState<Error | null>(null);
  useEffect(() => {
    if (accessError) return;
    return whileVisible((signal) => {
      operator.watch(listener, signal).catch((error: Error) => {
        if (!signal.aborted) setAccessError(error);
      });
    });
  }, [operator, listener, accessError]);
  const request = useCallback((stop: AbortSignal) => operator.statistics(stop), [operator]);
  const polled = usePolled(request, accessError ? STATISTICS_INTERVAL : null);
  const reload = useCallback(() => {
    // The watch reports errors.
    operator.overview().then(listener.onOverview, () => undefined);
  }, [operator, listener]);
  if (accessError) {
    const { data, refresh } = polled;
    const connection = polled.error ? "reconnecting" : data ? "polling" : "connecting";
    return {
      ...{ statistics: data, workers: null, failures: null, at: polled.at, accessError, refresh },
      ...{ summary: null, isOperator: false },
      ...{ connection, error: polled.error },
    };
  }
  const { statistics = null, workers = null, failures = null, summary = null } = overview ?? {};
  return {
    ...{ statistics, workers, failures, summary, isOperator: overview !== null },
    ...{ at, connection, error, accessError, refresh: reload },
  };
}

interface OverviewState {
  overview: Overview | null;
  at: number | null;
  connection: Connection;
  error: Error | null;
}

function useOverviewState(): OverviewState & { listener: OverviewListener } {
  const [state, setState] = useState<OverviewState>({
    overview: null,
    at: null,
    connection: "connecting",
    error: null,
  });
  const [listener] = useState<OverviewListener>(() => ({
    onOverview: (overview) =>
      setState((previous) =>
        previous.overview && previous.overview.timestamp > overview.timestamp
          ? previous
          : { ...previous, overview, at: Date.now(), error: null },
      ),
    onConnection: (connection) => setState((previous) => ({ ...previous, connection })),
    onError: (error) => setState((previous) => ({ ...previous, error })),
  }));
  return { ...state, listener };
}
