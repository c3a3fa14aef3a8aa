/** Runs `start` while the page is seen; its signal ends it. Returns what ends all of it. */
export function whileVisible(start: (signal: AbortSignal) => void): () => void {
  let seen: AbortController | null = null;
  const change = () => {
    seen?.abort();
    seen = document.hidden ? null : new AbortController();
    if (seen) start(seen.signal);
  };
  document.addEventListener("visibilitychange", change);
  change();
  return () => {
    document.removeEventListener("visibilitychange", change);
    seen?.abort();
  };
}
