import { type FormEvent, useId } from "react";

const KEY = "longhaul:operator-token";

/**
 * Store the token of a link (`/operator#token=…`) and remove it from the address bar, so that it is
 * neither bookmarked nor shown. Returns whether there was one.
 */
export function takeTokenFromUrl(): boolean {
  const token = new URLSearchParams(window.location.hash.slice(1)).get("token");
  if (token === null) return false;
  store(token);
  const { pathname, search } = window.location;
  window.history.replaceState(null, "", pathname + search);
  return true;
}

/** Sign in by a link that is opened while the page is open: the browser only changes the hash. */
export function followTokenLinks(): void {
  window.addEventListener("hashchange", () => {
    if (takeTokenFromUrl()) window.location.reload();
  });
}

/** Return the Authorization header with the operator token, if there is one. */
export function authorization(): HeadersInit {
  const token = stored();
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** Load the page again when the operator signs in or out in another tab. */
export function followOtherTabs(): void {
  window.addEventListener("storage", ({ key, oldValue, newValue }) => {
    if (key === KEY && oldValue !== newValue) window.location.reload();
  });
}

/** A form for the operator token, which is stored for all tabs of this browser until sign-out. */
export function TokenForm() {
  const inputId = useId();
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    store(String(new FormData(event.currentTarget).get("token")));
    window.location.reload();
  };
  return (
    <form className="card table-card" onSubmit={submit}>
      {stored() && (
        <p className="notice" data-tone="danger" role="alert">
          This token was not accepted. Check that you copied all of it. A token that the API
          generated is valid until the API stops, and a JWT until it expires: get a new one.
        </p>
      )}
      <div className="token">
        <label htmlFor={inputId}>Operator token:</label>
        <input id={inputId} className="input" type="password" name="token" required />
        <button className="button primary" type="submit">
          Sign in
        </button>
      </div>
      <p className="small muted">
        It is the value of <code>ADMIN_TOKEN</code>. If that is not set, the API prints a link with
        a token when it starts. With <code>AUTH_MODE=jwt</code>, it is a JWT with the scope{" "}
        <code>downloads:admin</code>.
      </p>
    </form>
  );
}

/** A button that forgets the operator token in all tabs. */
export function SignOut() {
  if (!stored()) return null;
  const signOut = () => {
    memory = null;
    try {
      window.localStorage.removeItem(KEY);
    } finally {
      window.location.reload();
    }
  };
  return (
    <button className="button quiet" type="button" onClick={signOut}>
      Sign out
    </button>
  );
}

/** Without storage the token lasts until the page closes. */
let memory: string | null = null;

function store(token: string): void {
  memory = token.trim();
  try {
    window.localStorage.setItem(KEY, memory);
  } catch {
    // Kept in memory.
  }
}

function stored(): string | null {
  try {
    return window.localStorage.getItem(KEY) ?? memory;
  } catch {
    return memory;
  }
}
