import type { CheckedFile } from "@longhaul/client";
import { useLonghaul } from "@longhaul/react";
import { useEffect, useState } from "react";

/** Null while the answer is under way. */
export type Checks = ReadonlyMap<number, CheckedFile | null>;

/** Files that are looked up; more are taken as they come. */
export const LOOKED_UP = 12;
const AT_ONCE = 2;

/** Name, size and presence of the first of these files, asked for two at a time and each only once. */
export function useChecks(ids: readonly number[]): Checks {
  const longhaul = useLonghaul();
  const [checks, setChecks] = useState<Checks>(new Map());
  const open = ids.slice(0, LOOKED_UP).filter((id) => !checks.has(id));
  const underWay = [...checks.values()].filter((check) => check === null).length;
  const next = underWay < AT_ONCE ? open[0] : undefined;

  useEffect(() => {
    if (next === undefined) return;
    const note = (check: CheckedFile | null) =>
      setChecks((known) => new Map(known).set(next, check));
    note(null);
    longhaul.check(next).then(note, () => note(unknown(next)));
  }, [longhaul, next]);
  return checks;
}

/** A file that nothing was found out about: the job will tell. */
function unknown(file_id: number): CheckedFile {
  return { file_id, available: true, size: null, fileName: null };
}
