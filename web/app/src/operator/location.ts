import type { JobFilter } from "@longhaul/client";
import { type MouseEvent, useCallback, useMemo, useSyncExternalStore } from "react";

/** What the operator page shows; its URL says the same. */
export type View =
  | { name: "overview" }
  | { name: "jobs"; filter: JobFilter }
  | { name: "job"; jobId: string }
  | { name: "audit" };

const CONDITIONS = ["q", "status", "errorCode", "user", "priority", "from", "to"] as const;

export function viewOf(search: string): View {
  const query = new URLSearchParams(search);
  const jobId = query.get("job");
  if (jobId) return { name: "job", jobId };
  if (query.get("view") === "audit") return { name: "audit" };
  if (query.get("view") !== "jobs") return { name: "overview" };
  const given = CONDITIONS.map((name) => [name, query.get(name)?.trim()]).filter(
    ([, value]) => value,
  );
  return { name: "jobs", filter: Object.fromEntries(given) as JobFilter };
}

/** Return the URL of a view. */
export function urlOf(view: View): string {
  if (view.name === "overview") return "/operator";
  if (view.name === "job") return `/operator?job=${encodeURIComponent(view.jobId)}`;
  const query = new URLSearchParams({ view: view.name });
  if (view.name === "jobs") {
    for (const name of CONDITIONS) {
      const value = view.filter[name];
      if (value) query.set(name, value);
    }
  }
  return `/operator?${query}`;
}

const listeners = new Set<() => void>();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  window.addEventListener("popstate", listener);
  return () => {
    listeners.delete(listener);
    window.removeEventListener("popstate", listener);
  };
}

/** Show another view; `replace` does not add an entry to the browser's history. */
export function show(view: View, replace = false): void {
  const change = replace ? "replaceState" : "pushState";
  window.history[change](null, "", urlOf(view));
  for (const listener of listeners) listener();
}

export function useView(): View {
  const search = useSyncExternalStore(subscribe, () => window.location.search);
  return useMemo(() => viewOf(search), [search]);
}

/** Return the attributes of a link to a view, which a plain click shows without loading the page. */
export function useLink(view: View) {
  const href = urlOf(view);
  const onClick = useCallback(
    (event: MouseEvent) => {
      const opensElsewhere = event.metaKey || event.ctrlKey || event.shiftKey || event.altKey;
      if (event.button !== 0 || opensElsewhere) return;
      event.preventDefault();
      show(viewOf(new URL(href, window.location.href).search));
    },
    [href],
  );
  return { href, onClick };
}
