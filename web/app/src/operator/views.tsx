import { useLink, type View } from "./location.js";

const VIEWS: readonly { view: View; label: string }[] = [
  { view: { name: "overview" }, label: "Overview" },
  { view: { name: "jobs", filter: {} }, label: "Jobs" },
  { view: { name: "audit" }, label: "Audit log" },
];

/** Links to the views of the operator page. */
export function Views({ shown }: { shown: View }) {
  const current = shown.name === "job" ? "jobs" : shown.name;
  return (
    <nav className="views" aria-label="Views">
      {VIEWS.map(({ view, label }) => (
        <ViewLink key={label} view={view} label={label} current={view.name === current} />
      ))}
    </nav>
  );
}

function ViewLink({ view, label, current }: { view: View; label: string; current: boolean }) {
  return (
    <a {...useLink(view)} aria-current={current ? "page" : undefined}>
      {label}
    </a>
  );
}

/** A job's short ID as a link to its page. */
export function JobLink({ jobId }: { jobId: string }) {
  const link = useLink({ name: "job", jobId });
  return (
    <a className="job-link" href={link.href} onClick={link.onClick} title={`Job ${jobId}`}>
      <code>{jobId.slice(0, 8)}</code>
    </a>
  );
}
