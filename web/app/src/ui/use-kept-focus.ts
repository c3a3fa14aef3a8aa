import { useEffect, useRef } from "react";

/**
 * Move the keyboard focus to `target` when the focused control disappears; otherwise it would move
 * to the top of the page. Spread `within` over the element that contains the controls.
 */
export function useKeptFocus<T extends HTMLElement>() {
  const target = useRef<T>(null);
  const hasFocus = useRef(false);
  // After every render, because each one may remove a control.
  useEffect(() => {
    if (hasFocus.current && document.activeElement === document.body) target.current?.focus();
  });
  const within = {
    onFocus: () => {
      hasFocus.current = true;
    },
    // Called when the focus moves, but not when React removes the focused element.
    onBlur: () => {
      hasFocus.current = false;
    },
  };
  return { target, within };
}
