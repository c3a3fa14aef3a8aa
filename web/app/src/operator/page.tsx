import { useLonghaul } from "@longhaul/react";
import { useCallback, useEffect } from "react";
import "../styles/operator.css";
import "../styles/charts.css";
import "../styles/tables.css";
import { Charts } from "./charts.js";
import { DeadLetters } from "./dead-letters.js";
import { Failures } from "./failures.js";
import { HealthStatus } from "./health-status.js";
import { PauseSwitch } from "./pause-switch.js";
import { Queue } from "./queue.js";
import { Tiles } from "./tiles.js";
import { useOverview } from "./use-overview.js";
import { usePolled } from "./use-polled.js";
import { Workers } from "./workers.js";

const HEALTH_INTERVAL = 10_000;

/** The page with the service status, for operators. */
export default function OperatorPage() {
  const { operator } = useLonghaul();
  const overview = useOverview();
  const { statistics, workers, failures, at, accessError, refresh } = overview;
  const requestHealth = useCallback((stop: AbortSignal) => operator.health(stop), [operator]);
  const health = usePolled(requestHealth, HEALTH_INTERVAL);
  useEffect(() => {
    document.title = "Operations · Longhaul";
  }, []);
  return (
    <div className="operator">
      <div className="operator-head">
        <h1>Operations</h1>
        <HealthStatus health={health} connection={overview.connection} error={overview.error} />
        <PauseSwitch statistics={statistics} onChange={refresh} />
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
        <Workers workers={workers} accessError={accessError} />
        <Failures failures={failures} accessError={accessError} />
      </div>
      <DeadLetters count={statistics?.deadLetters ?? 0} onChange={refresh} />
    </div>
  );
}
