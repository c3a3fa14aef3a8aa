import type { Connection } from "@longhaul/client";

const WORDS: Record<Connection, { label: string; title: string }> = {
  connecting: { label: "Connecting", title: "Waiting for the first news" },
  live: { label: "Live", title: "Every change is shown as it happens" },
  polling: {
    label: "Updating",
    title: "Live news does not come through here, so the page asks every few seconds",
  },
  reconnecting: { label: "No connection", title: "The page tries again and again" },
  closed: { label: "Connecting", title: "Waiting for the first news" },
};

export interface ConnectionBadgeProps {
  connection: Connection;
  /** What there is to know while nothing answers. */
  meanwhile?: string;
}

/** How the news comes. */
export function ConnectionBadge({ connection, meanwhile }: ConnectionBadgeProps) {
  const { label, title } = WORDS[connection];
  return (
    <span
      className="badge"
      data-connection={connection}
      title={connection === "reconnecting" ? (meanwhile ?? title) : title}
    >
      {label}
    </span>
  );
}
