import type { CheckedFile } from "@longhaul/client";
import { useLonghaul } from "@longhaul/react";
import { useEffect, useState } from "react";

/** By file id; null until the response arrives. */
export type Checks = ReadonlyMap<number, CheckedFile | null>;

/** Maximum number of files to check; further ones are added without a check. */
export const MAX_CHECKED = 12;
const MAX_CONCURRENT = 2;

/** Check whether the first files exist; two at a time, each file once. */
export function useChecks(ids: readonly number[]): Checks {
  const longhaul = useLonghaul();
  const [checks, setChecks] = useState<Checks>(new Map());
  const open = ids.slice(0, MAX_CHECKED).filter((id) => !checks.has(id));
  const inProgress = [...checks.values()].filter((check) => check === null).length;
  const next = inProgress < MAX_CONCURRENT ? open[0] : undefined;

  useEffect(() => {
    if (next === undefined) return;
    const setCheck = (check: CheckedFile | null) =>
      setChecks((checks) => new Map(checks).set(next, check));
    setCheck(null);
    longhaul.check(next).then(setCheck, () => setCheck(unchecked(next)));
  }, [longhaul, next]);
  return checks;
}

/** The result when the check failed: the job reports whether the file exists. */
function unchecked(file_id: number): CheckedFile {
  return { file_id, available: true, size: null, fileName: null };
}
