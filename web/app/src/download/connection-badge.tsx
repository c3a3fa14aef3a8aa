import type { Connection } from "@longhaul/client";

const WORDS: Record<Connection, { label: string; title: string }> = {
  connecting: { label: "Connecting", title: "Waiting for the first news" },
  live: { label: "Live", title: "Every change is shown as it happens" },
  polling: {
    label: "Updating",
    title: "Live news does not come through here, so the page asks every few seconds",
  },
  reconnecting: { label: "No connection", title: "The download goes on meanwhile" },
  closed: { label: "Connecting", title: "Waiting for the first news" },
};

/** How the news of a download comes. */
export function ConnectionBadge({ connection }: { connection: Connection }) {
  const { label, title } = WORDS[connection];
  return (
    <span className="badge" data-connection={connection} title={title}>
      {label}
    </span>
  );
}
