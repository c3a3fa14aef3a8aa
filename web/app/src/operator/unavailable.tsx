import { ApiProblem } from "@longhaul/client";
import { isFinal } from "./use-polled.js";

/** Return whether the user is not signed in as an operator. */
export function isForbidden(error: Error | null): boolean {
  return error instanceof ApiProblem && error.isPermanent && [401, 403].includes(error.status);
}

/** Shown in place of data that could not be loaded. */
export function Unavailable({ error }: { error: Error }) {
  if (isForbidden(error)) return <p className="muted">For operators only.</p>;
  const known = error instanceof ApiProblem && error.code === "JOB_NOT_FOUND";
  return (
    <p className="muted">
      {isFinal(error) && !known ? "Not available on this server." : error.message}
    </p>
  );
}
