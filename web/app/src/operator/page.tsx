import { useLonghaul } from "@longhaul/react";
import { useCallback, useEffect } from "react";
import "../styles/operator.css";
import "../styles/charts.css";
import "../styles/tables.css";
import { Charts } from "./charts.js";
import { DeadLetters } from "./dead-letters.js";
import { Failures } from "./failures.js";
import { HealthStrip } from "./health-strip.js";
import { Queue } from "./queue.js";
import { Switch } from "./switch.js";
import { Tiles } from "./tiles.js";
import { useOverview } from "./use-overview.js";
import { usePolled } from "./use-polled.js";
import { Workers } from "./workers.js";

const HEALTH_EVERY = 10_000;

/** How the service fares, and what can be done about it. */
export default function OperatorPage() {
  const { operator } = useLonghaul();
  const overview = useOverview();
  const { statistics, workers, failures, at, refusal, refresh } = overview;
  const askHealth = useCallback((stop: AbortSignal) => operator.health(stop), [operator]);
  const health = usePolled(askHealth, HEALTH_EVERY);
  useEffect(() => {
    document.title = "Operations · Longhaul";
  }, []);
  return (
    <div className="operator">
      <div className="operator-head">
        <h1>Operations</h1>
        <HealthStrip health={health} connection={overview.connection} trouble={overview.trouble} />
        <Switch statistics={statistics} onChange={refresh} />
      </div>
      {statistics && (
        <>
          <Tiles statistics={statistics} />
          <div className="operator-row">
            <Queue statistics={statistics} />
            <Charts statistics={statistics} at={at ?? 0} />
          </div>
        </>
      )}
      <div className="operator-tables">
        <Workers workers={workers} refusal={refusal} />
        <Failures failures={failures} refusal={refusal} />
      </div>
      <DeadLetters count={statistics?.deadLetters ?? 0} onChange={refresh} />
    </div>
  );
}
