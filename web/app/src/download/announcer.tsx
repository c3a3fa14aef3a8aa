import { createContext, type ReactNode, useCallback, useContext, useRef, useState } from "react";

const Context = createContext<(text: string) => void>(() => undefined);

/** Return a function that announces a text to screen readers. */
export function useAnnounce(): (text: string) => void {
  return useContext(Context);
}

const MAX_TEXTS = 5;

/** The only live region of the page, so that several events are read one after another. */
export function Announcer({ children }: { children: ReactNode }) {
  const [texts, setTexts] = useState<readonly { id: number; text: string }[]>([]);
  const nextId = useRef(0);
  const announce = useCallback((text: string) => {
    setTexts((texts) => [...texts, { id: nextId.current++, text }].slice(-MAX_TEXTS));
  }, []);
  return (
    <Context.Provider value={announce}>
      {children}
      <div className="hidden" role="log" aria-label="Events">
        {texts.map(({ id, text }) => (
          <p key={id}>{text}</p>
        ))}
      </div>
    </Context.Provider>
  );
}
