import { useLonghaul } from "@longhaul/react";
import { useCallback } from "react";
import "../styles/operator.css";
import "../styles/charts.css";
import "../styles/tables.css";
import "../styles/explorer.css";
import { AuditLog } from "./audit-log.js";
import { Charts } from "./charts.js";
import { DeadLetters } from "./dead-letters.js";
import { Failures } from "./failures.js";
import { clockTime } from "./format.js";
import { HealthStatus } from "./health-status.js";
import { JobPage } from "./job.js";
import { Jobs } from "./jobs.js";
import { useView } from "./location.js";
import { PauseSwitch } from "./pause-switch.js";
import { Queue } from "./queue.js";
import { isStale, Summary } from "./summary.js";
import { Tiles } from "./tiles.js";
import { SignOut, TokenForm } from "./token.js";
import { isForbidden } from "./unavailable.js";
import { type OverviewView, useOverview } from "./use-overview.js";
import { usePolled } from "./use-polled.js";
import { Views } from "./views.js";
import { Workers } from "./workers.js";

const HEALTH_INTERVAL = 10_000;

/** The page with the service status and all jobs, for operators. */
export default function OperatorPage() {
  const { operator } = useLonghaul();
  const overview = useOverview();
  const view = useView();
  const requestHealth = useCallback((stop: AbortSignal) => operator.health(stop), [operator]);
  const health = usePolled(requestHealth, HEALTH_INTERVAL);
  const { statistics, summary, at, connection, error, isOperator, accessError, refresh } = overview;
  return (
    <div className="operator">
      <div className="operator-head">
        <h1>Operations</h1>
        <HealthStatus health={health} connection={connection} />
        {isOperator && <PauseSwitch statistics={statistics} onChange={refresh} />}
        <SignOut />
      </div>
      {isForbidden(accessError) && <TokenForm />}
      <Summary summary={summary} at={at} connection={connection} error={error} />
      <Views shown={view} />
      {view.name === "overview" && <OverviewFigures overview={overview} />}
      {view.name === "jobs" && <Jobs filter={view.filter} />}
      {view.name === "job" && <JobPage key={view.jobId} jobId={view.jobId} />}
      {view.name === "audit" && <AuditLog />}
    </div>
  );
}

/** The figures; while there is no connection, they are dimmed and say how old they are. */
function OverviewFigures({ overview }: { overview: OverviewView }) {
  const { statistics, workers, failures, at, accessError, connection, refresh } = overview;
  const stale = isStale(connection) && at !== null;
  return (
    <div className="figures" data-stale={stale || undefined}>
      {stale && <p className="figures-age">As of {clockTime(at, true)}</p>}
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
