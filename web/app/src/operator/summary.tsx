import type { Connection, ServiceSummary } from "@longhaul/client";
import { useEffect } from "react";
import { Icon } from "../ui/icons.js";
import { clockTime } from "./format.js";

export interface Headline {
  level: ServiceSummary["level"] | "unknown";
  text: string;
}

export interface SummaryProps {
  summary: ServiceSummary | null;
  /** When it arrived, in milliseconds since 1970. */
  at: number | null;
  connection: Connection;
  /** Why there are currently no updates. */
  error: Error | null;
}

/** Return the state of the service in one sentence. */
export function headlineOf({ summary, at, connection, error }: SummaryProps): Headline {
  if (isStale(connection) && error) {
    const since = at === null ? "" : `; figures are from ${clockTime(at)}`;
    return { level: "critical", text: `${error.message.replace(/\.$/, "")}${since}` };
  }
  if (!summary) return { level: "unknown", text: "" };
  const { level, message, idleSince } = summary;
  const idle = idleSince ? `: nothing has run since ${clockTime(Date.parse(idleSince))}` : "";
  return { level, text: message + idle };
}

/** Return whether what is shown may have changed since. */
export function isStale(connection: Connection): boolean {
  return connection === "reconnecting";
}

/** The state of the service, also in the title of the tab, and the reasons why jobs wait. */
export function Summary(props: SummaryProps) {
  const { level, text } = headlineOf(props);
  useEffect(() => {
    const warning = level === "info" || level === "unknown" ? "" : "⚠ ";
    document.title = `${warning}${text || "Operations"} · Longhaul`;
  }, [level, text]);
  if (!text) return null;
  const others = (props.summary?.reasons ?? []).filter(
    ({ message }) => message !== props.summary?.message,
  );
  return (
    <section className="summary" data-level={level} aria-labelledby="summary-title">
      <h2 className="hidden" id="summary-title">
        State of the service
      </h2>
      <p className="summary-text" role="status">
        <Icon name={level === "info" ? "check" : "alert"} />
        <span>{text}</span>
      </p>
      {others.length > 0 && !isStale(props.connection) && (
        <ul className="summary-reasons" aria-label="Reasons">
          {others.map(({ code, message }) => (
            <li key={`${code} ${message}`}>{message}</li>
          ))}
        </ul>
      )}
    </section>
  );
}
