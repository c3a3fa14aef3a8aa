/**
 * Call all listeners. The page reports the error of a listener as uncaught; it keeps neither the
 * other listeners nor the client from their work.
 */
export function notify(listeners: Iterable<() => void>): void {
  for (const listener of listeners) {
    try {
      listener();
    } catch (error) {
      // Node.js has no `reportError`.
      if (typeof reportError === "function") reportError(error);
      else console.error(error);
    }
  }
}
