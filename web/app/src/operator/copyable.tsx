import { useEffect, useState } from "react";
import { Icon } from "../ui/icons.js";

/** A value with a button that copies it. */
export function Copyable({ value, name }: { value: string; name: string }) {
  const [state, setState] = useState<"idle" | "copied" | "failed">("idle");
  useEffect(() => {
    if (state === "idle") return;
    const timer = setTimeout(() => setState("idle"), 2_000);
    return () => clearTimeout(timer);
  }, [state]);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(value);
      setState("copied");
    } catch {
      // Not allowed, or not over HTTPS: the text can still be selected.
      setState("failed");
    }
  };
  return (
    <span className="copyable">
      <code>{value}</code>
      <button
        className="icon-button"
        type="button"
        aria-label={`Copy ${name}`}
        title={`Copy ${name}`}
        onClick={() => void copy()}
      >
        <Icon name={state === "copied" ? "check" : "copy"} />
      </button>
      <span className="small muted" role="status">
        {state === "copied" && "Copied"}
        {state === "failed" && "Select the text to copy it"}
      </span>
    </span>
  );
}
