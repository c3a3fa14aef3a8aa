import { useState } from "react";

const isSupported = () => typeof Notification === "function" && window.isSecureContext;

/** A button that asks the browser for permission to show notifications. */
export function NotifyButton() {
  const [permission, setPermission] = useState(() =>
    isSupported() ? Notification.permission : "denied",
  );
  if (permission !== "default") return null;
  const ask = () => void Notification.requestPermission().then(setPermission);
  return (
    <button className="link small" type="button" onClick={ask}>
      Notify me when done
    </button>
  );
}

/** Show a notification if the page is hidden and the user allowed it. */
export function notify(title: string, body: string): void {
  if (!document.hidden || !isSupported() || Notification.permission !== "granted") return;
  try {
    new Notification(title, { body });
  } catch {
    // Android allows notifications to service workers only.
  }
}
