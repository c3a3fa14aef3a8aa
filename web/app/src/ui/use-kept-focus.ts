import { type FocusEvent, useEffect, useRef } from "react";

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
    // React tells nothing of the focus that a removed element had, only of one that moved on.
    onBlur: ({ currentTarget, relatedTarget }: FocusEvent<HTMLElement>) => {
      hasFocus.current = currentTarget.contains(relatedTarget);
    },
  };
  return { target, within };
}
