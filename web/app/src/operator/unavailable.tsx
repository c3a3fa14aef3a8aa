import { ApiProblem } from "@longhaul/client";
import { TokenForm } from "./token.js";
import { isFinal } from "./use-polled.js";

/** What stands where something could not be asked for. */
export function Unavailable({ error }: { error: Error }) {
  const forbidden = error instanceof ApiProblem && [401, 403].includes(error.status);
  if (forbidden) return <TokenForm />;
  return <p className="muted">{isFinal(error) ? "Not offered by this service." : error.message}</p>;
}
