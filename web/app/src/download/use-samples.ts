import { useLonghaul } from "@longhaul/react";
import { useEffect, useState } from "react";

/** A file of the sample catalog of `make up`. */
const FIRST_SAMPLE = 10001;
const SAMPLES = ["10001-10005", "10013-10020"];
const NONE: readonly string[] = [];

/** Return ranges to try if the server has the sample catalog. */
export function useSamples(): readonly string[] {
  const longhaul = useLonghaul();
  const [samples, setSamples] = useState(NONE);
  useEffect(() => {
    const abort = new AbortController();
    longhaul.check(FIRST_SAMPLE, abort.signal).then(
      ({ available }) => setSamples(available ? SAMPLES : NONE),
      () => undefined,
    );
    return () => abort.abort();
  }, [longhaul]);
  return samples;
}
