import { useCallback, useEffect, useMemo, useState } from "react";
import { currentUser } from "../sign-in.js";

/*
 * The jobs that the user removed from the list. The account still has them, so without this they
 * would come back as jobs of another browser.
 */

/** The account's list has fewer jobs, and none of them is older than the ids that are dropped. */
const MAX_IDS = 200;

const keyOf = (user: string) => ["longhaul:removed", user].filter(Boolean).join(":");

export interface RemovedJobs {
  ids: ReadonlySet<string>;
  add(jobIds: readonly string[]): void;
  delete(jobIds: readonly string[]): void;
}

/** Remember which jobs the user removed, in all tabs and after a reload. */
export function useRemovedJobs(): RemovedJobs {
  const [key] = useState(() => keyOf(currentUser()));
  const [ids, setIds] = useState(() => load(key));
  useEffect(() => {
    const onStorage = (event: StorageEvent) => {
      if (event.key === key || event.key === null) setIds(load(key));
    };
    window.addEventListener("storage", onStorage);
    return () => window.removeEventListener("storage", onStorage);
  }, [key]);
  const change = useCallback(
    (changed: (ids: readonly string[]) => readonly string[]) =>
      setIds((ids) => {
        const newest = changed(ids).slice(-MAX_IDS);
        save(key, newest);
        return newest;
      }),
    [key],
  );
  return useMemo(
    () => ({
      ids: new Set(ids),
      add: (jobIds) => change((ids) => [...ids.filter((id) => !jobIds.includes(id)), ...jobIds]),
      delete: (jobIds) => change((ids) => ids.filter((id) => !jobIds.includes(id))),
    }),
    [ids, change],
  );
}

function load(key: string): readonly string[] {
  try {
    const ids: unknown = JSON.parse(window.localStorage.getItem(key) ?? "[]");
    return Array.isArray(ids) ? ids.filter((id) => typeof id === "string") : [];
  } catch {
    return [];
  }
}

function save(key: string, ids: readonly string[]): void {
  try {
    window.localStorage.setItem(key, JSON.stringify(ids));
  } catch {
    // Without storage they are kept until the page closes.
  }
}
