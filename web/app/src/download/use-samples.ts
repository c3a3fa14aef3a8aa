import { useLonghaul } from "@longhaul/react";
import { useEffect, useState } from "react";

/** The catalogue that a local stack comes with. */
const FIRST_SAMPLE = 10001;
const SAMPLES = ["10001-10005", "10013-10020"];
const NONE: readonly string[] = [];

/** Ranges to try, where the sample catalogue is there. */
export function useSamples(): readonly string[] {
  const longhaul = useLonghaul();
  const [samples, setSamples] = useState(NONE);
  useEffect(() => {
    const gone = new AbortController();
    longhaul.check(FIRST_SAMPLE, gone.signal).then(
      ({ available }) => setSamples(available ? SAMPLES : NONE),
      () => undefined,
    );
    return () => gone.abort();
  }, [longhaul]);
  return samples;
}
