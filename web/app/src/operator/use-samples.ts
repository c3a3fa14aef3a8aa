import type { QueueStatistics } from "@longhaul/client";
import { useEffect, useState } from "react";
import { addSample, type Sample, sampleOf } from "./samples.js";

const KEY = "longhaul:history";

/** Collect samples of the statistics; they survive a reload. */
export function useStatisticsSamples(
  statistics: QueueStatistics | null,
  at: number | null,
): Sample[] {
  const [samples, setSamples] = useState(stored);
  useEffect(() => {
    if (!statistics || at === null) return;
    setSamples((samples) => addSample(samples, sampleOf(statistics, at)));
  }, [statistics, at]);
  useEffect(() => store(samples), [samples]);
  return samples;
}

function stored(): Sample[] {
  try {
    const samples: unknown = JSON.parse(window.sessionStorage.getItem(KEY) ?? "[]");
    return Array.isArray(samples) ? samples.filter((sample) => typeof sample?.at === "number") : [];
  } catch {
    return [];
  }
}

function store(samples: Sample[]): void {
  try {
    window.sessionStorage.setItem(KEY, JSON.stringify(samples));
  } catch {
    // Storage is full or disabled: the charts start with the page.
  }
}
