import type { QueueStatistics } from "@longhaul/client";
import { useEffect, useState } from "react";
import { addSample, type Sample, sampleOf } from "./samples.js";

/** Collect samples of the statistics while the page is open; the server has the older ones. */
export function useStatisticsSamples(
  statistics: QueueStatistics | null,
  at: number | null,
): Sample[] {
  const [samples, setSamples] = useState<Sample[]>([]);
  useEffect(() => {
    if (!statistics || at === null) return;
    setSamples((samples) => addSample(samples, sampleOf(statistics, at)));
  }, [statistics, at]);
  return samples;
}
