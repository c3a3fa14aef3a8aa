/** Run `start` while the page is visible; its signal aborts when it is hidden. Returns a stop function. */
export function whileVisible(start: (signal: AbortSignal) => void): () => void {
  let visible: AbortController | null = null;
  const change = () => {
    visible?.abort();
    visible = document.hidden ? null : new AbortController();
    if (visible) start(visible.signal);
  };
  document.addEventListener("visibilitychange", change);
  change();
  return () => {
    document.removeEventListener("visibilitychange", change);
    visible?.abort();
  };
}
