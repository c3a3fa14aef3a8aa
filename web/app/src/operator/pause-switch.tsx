import type { QueueStatistics } from "@longhaul/client";
import { useLonghaul } from "@longhaul/react";
import { useState } from "react";
import { Icon } from "../ui/icons.js";
import { isFinal } from "./use-polled.js";

export interface PauseSwitchProps {
  statistics: QueueStatistics | null;
  onChange(): void;
}

/** A button that pauses and resumes the queue. While paused, jobs are accepted but not started. */
export function PauseSwitch({ statistics, onChange }: PauseSwitchProps) {
  const { operator } = useLonghaul();
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const paused = statistics?.paused ?? false;
  const change = async () => {
    if (busy) return;
    setBusy(true);
    setError(null);
    try {
      await (paused ? operator.resume() : operator.pause());
      onChange();
    } catch (error) {
      const message = isFinal(error) ? "Only operators can do this" : (error as Error).message;
      setError(message);
    } finally {
      setBusy(false);
    }
  };
  return (
    <div className="switch">
      {error && (
        <span className="small switch-error" role="alert">
          {error}
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
