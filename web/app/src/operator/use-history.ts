import type { QueueStatistics } from "@longhaul/client";
import { useEffect, useState } from "react";
import { extended, type Sample, sampleOf } from "./history.js";

const KEY = "longhaul:history";

/** What this page saw of the queue in the last minutes, over a reload too. */
export function useHistory(statistics: QueueStatistics | null, at: number | null): Sample[] {
  const [samples, setSamples] = useState(stored);
  useEffect(() => {
    if (!statistics || at === null) return;
    setSamples((known) => extended(known, sampleOf(statistics, at)));
  }, [statistics, at]);
  useEffect(() => store(samples), [samples]);
  return samples;
}

function stored(): Sample[] {
  try {
    const samples: unknown = JSON.parse(window.sessionStorage.getItem(KEY) ?? "[]");
    return Array.isArray(samples) ? samples.filter((one) => typeof one?.at === "number") : [];
  } catch {
    return [];
  }
}

function store(samples: Sample[]): void {
  try {
    window.sessionStorage.setItem(KEY, JSON.stringify(samples));
  } catch {
    // Full or forbidden: the charts then begin with the page.
  }
}
