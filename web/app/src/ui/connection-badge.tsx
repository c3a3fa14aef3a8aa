import type { Connection } from "@longhaul/client";

const TEXTS: Record<Connection, { label: string; title: string }> = {
  connecting: { label: "Connecting", title: "Waiting for the first update" },
  live: { label: "Live", title: "Changes appear immediately" },
  polling: {
    label: "Updating",
    title: "Live updates aren't available on this network, so the page checks every few seconds",
  },
  reconnecting: { label: "No connection", title: "Trying to reconnect" },
  closed: { label: "Connecting", title: "Waiting for the first update" },
};

export interface ConnectionBadgeProps {
  connection: Connection;
  /** The tooltip while there is no connection. */
  reconnectingTitle?: string;
}

/** Shows how updates arrive. */
export function ConnectionBadge({ connection, reconnectingTitle }: ConnectionBadgeProps) {
  const { label, title } = TEXTS[connection];
  return (
    <span
      className="badge"
      data-connection={connection}
      title={connection === "reconnecting" ? (reconnectingTitle ?? title) : title}
    >
      {label}
    </span>
  );
}
