import { ApiProblem } from "@longhaul/client";
import { TokenForm } from "./token.js";
import { isFinal } from "./use-polled.js";

export interface UnavailableProps {
  error: Error;
  /** Show the token form if the token is missing; once per page is enough. */
  showTokenForm?: boolean;
}

/** Shown in place of data that could not be loaded. */
export function Unavailable({ error, showTokenForm = true }: UnavailableProps) {
  const forbidden = error instanceof ApiProblem && [401, 403].includes(error.status);
  if (forbidden && showTokenForm) return <TokenForm />;
  if (forbidden) return <p className="muted">For operators only.</p>;
  const known = error instanceof ApiProblem && error.code === "JOB_NOT_FOUND";
  return (
    <p className="muted">
      {isFinal(error) && !known ? "Not available on this server." : error.message}
    </p>
  );
}
