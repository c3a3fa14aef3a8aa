import { isFinal } from "./use-polled.js";

/** What stands where something could not be asked for. */
export function Unavailable({ error }: { error: Error }) {
  return (
    <p className="muted">
      {isFinal(error) ? "Not offered to you by this service." : error.message}
    </p>
  );
}
