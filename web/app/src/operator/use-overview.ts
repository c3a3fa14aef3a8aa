import type {
  Connection,
  FailedJob,
  Overview,
  OverviewListener,
  QueueStatistics,
  Worker,
} from "@longhaul/client";
import { useLonghaul } from "@longhaul/react";
import { useCallback, useEffect, useState } from "react";
import { whileVisible } from "../ui/while-visible.js";
import { usePolled } from "./use-polled.js";

export interface OverviewView {
  statistics: QueueStatistics | null;
  /** Null until they are known, and for those who may not know them. */
  workers: readonly Worker[] | null;
  failures: readonly FailedJob[] | null;
  /** When the newest figures came, in milliseconds since 1970. */
  at: number | null;
  connection: Connection;
  /** Why no news comes at the moment. */
  trouble: Error | null;
  /** Why the caller sees the figures only. */
  refusal: Error | null;
  /** Look now: something was changed here. */
  refresh(): void;
}

const STATISTICS_EVERY = 2_000;

/** The service at a glance, live; for those who are no operators, its figures. */
export function useOverview(): OverviewView {
  const { operator } = useLonghaul();
  const { overview, at, connection, trouble, listener } = useNews();
  const [refusal, setRefusal] = useState<Error | null>(null);
  useEffect(() => {
    if (refusal) return;
    return whileVisible((signal) => {
      operator.watch(listener, signal).catch((error: Error) => {
        if (!signal.aborted) setRefusal(error);
      });
    });
  }, [operator, listener, refusal]);
  const ask = useCallback((stop: AbortSignal) => operator.statistics(stop), [operator]);
  const figures = usePolled(ask, refusal ? STATISTICS_EVERY : null);
  const look = useCallback(() => {
    // What failed here will be told by the watch.
    operator.overview().then(listener.onOverview, () => undefined);
  }, [operator, listener]);
  if (refusal) {
    const { data, error, refresh } = figures;
    const how = error ? "reconnecting" : data ? "polling" : "connecting";
    return {
      ...{ statistics: data, workers: null, failures: null, at: figures.at, refusal, refresh },
      ...{ connection: how, trouble: error },
    };
  }
  const { statistics = null, workers = null, failures = null } = overview ?? {};
  return { statistics, workers, failures, at, connection, trouble, refusal, refresh: look };
}

interface News {
  overview: Overview | null;
  at: number | null;
  connection: Connection;
  trouble: Error | null;
}

function useNews(): News & { listener: OverviewListener } {
  const [news, setNews] = useState<News>({
    overview: null,
    at: null,
    connection: "connecting",
    trouble: null,
  });
  const [listener] = useState<OverviewListener>(() => ({
    onOverview: (overview) =>
      setNews((known) =>
        known.overview && known.overview.timestamp > overview.timestamp
          ? known
          : { ...known, overview, at: Date.now(), trouble: null },
      ),
    onConnection: (connection) => setNews((known) => ({ ...known, connection })),
    onTrouble: (trouble) => setNews((known) => ({ ...known, trouble })),
  }));
  return { ...news, listener };
}
