import type { QueueStatistics } from "@longhaul/client";
import { useLonghaul } from "@longhaul/react";
import { useState } from "react";
import { Icon } from "../ui/icons.js";
import { isFinal } from "./use-polled.js";

export interface SwitchProps {
  statistics: QueueStatistics | null;
  onChange(): void;
}

/** Pause and resume the queue: jobs are accepted still, but none is begun. */
export function Switch({ statistics, onChange }: SwitchProps) {
  const { operator } = useLonghaul();
  const [busy, setBusy] = useState(false);
  const [refusal, setRefusal] = useState<string | null>(null);
  const paused = statistics?.paused ?? false;
  const change = async () => {
    if (busy) return;
    setBusy(true);
    setRefusal(null);
    try {
      await (paused ? operator.resume() : operator.pause());
      onChange();
    } catch (error) {
      const refused = isFinal(error) ? "Only operators may do that here" : (error as Error).message;
      setRefusal(refused);
    } finally {
      setBusy(false);
    }
  };
  return (
    <div className="switch">
      {refusal && (
        <span className="small refusal" role="alert">
          {refusal}
        </span>
      )}
      {paused && <span className="badge paused">Paused</span>}
      <button className="button" type="button" aria-disabled={busy} onClick={() => void change()}>
        <Icon name={paused ? "play" : "pause"} />
        {paused ? "Resume queue" : "Pause queue"}
      </button>
    </div>
  );
}
