import { useLonghaul } from "@longhaul/react";
import { useCallback } from "react";
import "../styles/operator.css";
import { Charts } from "./charts.js";
import { DeadLetters } from "./dead-letters.js";
import { HealthStrip } from "./health-strip.js";
import { Jobs } from "./jobs.js";
import { Queue } from "./queue.js";
import { Switch } from "./switch.js";
import { Tiles } from "./tiles.js";
import { useHistory } from "./use-history.js";
import { usePolled } from "./use-polled.js";

const STATISTICS_EVERY = 2_000;
const HEALTH_EVERY = 10_000;

/** How the service fares, and what can be done about it. */
export default function OperatorPage() {
  const { operator } = useLonghaul();
  const askStatistics = useCallback((stop: AbortSignal) => operator.statistics(stop), [operator]);
  const askHealth = useCallback((stop: AbortSignal) => operator.health(stop), [operator]);
  const statistics = usePolled(askStatistics, STATISTICS_EVERY);
  const health = usePolled(askHealth, HEALTH_EVERY);
  const history = useHistory(statistics.data, statistics.at);
  return (
    <div className="operator">
      <div className="operator-head">
        <h1>Operations</h1>
        <HealthStrip health={health} statistics={statistics} />
        <Switch statistics={statistics.data} onChange={statistics.refresh} />
      </div>
      {statistics.data && (
        <>
          <Tiles statistics={statistics.data} />
          <div className="operator-row">
            <Queue statistics={statistics.data} />
            <Charts history={history} now={statistics.at ?? 0} />
          </div>
        </>
      )}
      <div className="operator-tables">
        <Jobs title="In progress" status="processing" nothing="No job runs at the moment." />
        <Jobs title="Recent failures" status="failed" nothing="No job has failed." />
      </div>
      <DeadLetters count={statistics.data?.deadLetters ?? 0} onChange={statistics.refresh} />
    </div>
  );
}
