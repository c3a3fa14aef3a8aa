import { ApiProblem } from "@longhaul/client";
import { TokenForm } from "./token.js";
import { isFinal } from "./use-polled.js";

export interface UnavailableProps {
  error: Error;
  /** Ask for the operator's token where that is what is missing; once on a page is enough. */
  asks?: boolean;
}

/** What stands where something could not be asked for. */
export function Unavailable({ error, asks = true }: UnavailableProps) {
  const forbidden = error instanceof ApiProblem && [401, 403].includes(error.status);
  if (forbidden && asks) return <TokenForm />;
  if (forbidden) return <p className="muted">For operators only.</p>;
  return <p className="muted">{isFinal(error) ? "Not offered by this service." : error.message}</p>;
}
