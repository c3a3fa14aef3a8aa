import { useEffect, useRef } from "react";

/**
 * Where the keyboard's focus goes when the control that has it disappears: to `target` instead of
 * the top of the page. Spread `within` over the element that holds the controls.
 */
export function useKeptFocus<T extends HTMLElement>() {
  const target = useRef<T>(null);
  const hasFocus = useRef(false);
  // After every rendering, because any of them may take a control away.
  useEffect(() => {
    if (hasFocus.current && document.activeElement === document.body) target.current?.focus();
  });
  const within = {
    onFocus: () => {
      hasFocus.current = true;
    },
    // Comes when the focus moves on, and not when React removes the element that has it.
    onBlur: () => {
      hasFocus.current = false;
    },
  };
  return { target, within };
}
