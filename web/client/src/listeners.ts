/**
 * Call all listeners. An error of a listener is reported to the page as uncaught; the other listeners
 * and the client continue.
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
