import { type ReactNode, useState } from "react";
import { Icon, type IconName } from "./icons.js";
import { applyTheme, storedTheme, storeTheme, type Theme } from "./theme.js";

export interface ShellProps {
  page: "downloads" | "operator";
  children: ReactNode;
}

/** The header and layout of both pages. */
export function Shell({ page, children }: ShellProps) {
  return (
    <>
      <a className="skip" href="#main">
        Skip to content
      </a>
      <header className="top">
        <div className="top-inner">
          <a className="brand" href="/">
            <Mark />
            <span className="brand-name">Longhaul</span>
          </a>
          <nav aria-label="Pages">
            <a href="/" aria-current={page === "downloads" ? "page" : undefined}>
              Downloads
            </a>
            <a href="/operator" aria-current={page === "operator" ? "page" : undefined}>
              Operations
            </a>
          </nav>
          <ThemeSwitch />
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        {children}
      </main>
    </>
  );
}

function Mark() {
  return (
    <svg className="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="9" />
      <path d="M16 7v11m0 0-4.5-4.5M16 18l4.5-4.5M8 24h9" />
      <path d="M21.5 24H24" opacity="0.5" />
    </svg>
  );
}

const NEXT: Record<Theme, Theme> = { auto: "light", light: "dark", dark: "auto" };
const ICONS: Record<Theme, IconName> = { auto: "auto", light: "sun", dark: "moon" };
const NAMES: Record<Theme, string> = { auto: "system", light: "light", dark: "dark" };

function ThemeSwitch() {
  const [theme, setTheme] = useState(storedTheme);
  const change = () => {
    const next = NEXT[theme];
    setTheme(next);
    applyTheme(next);
    storeTheme(next);
  };
  const label = `Theme: ${NAMES[theme]}`;
  return (
    <button className="icon-button" type="button" onClick={change} aria-label={label} title={label}>
      <Icon name={ICONS[theme]} />
    </button>
  );
}
