import { type FormEvent, useId } from "react";

const KEY = "longhaul:operator-token";

/**
 * Store the token of a link (`/operator#token=…`) and remove it from the address bar, so that it is
 * neither bookmarked nor shown.
 */
export function takeTokenFromUrl(): void {
  const token = new URLSearchParams(window.location.hash.slice(1)).get("token");
  if (token === null) return;
  store(token);
  const { pathname, search } = window.location;
  window.history.replaceState(null, "", pathname + search);
}

/** Return the Authorization header with the operator token, if there is one. */
export function authorization(): HeadersInit {
  const token = stored();
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** A form for the operator token, which is stored for this tab only. */
export function TokenForm() {
  const inputId = useId();
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    store(String(new FormData(event.currentTarget).get("token")));
    window.location.reload();
  };
  return (
    <form className="token" onSubmit={submit}>
      <label htmlFor={inputId}>
        {stored() ? "This token was not accepted. Enter another one:" : "Operator token:"}
      </label>
      <input id={inputId} className="input" type="password" name="token" required />
      <button className="button" type="submit">
        Use token
      </button>
    </form>
  );
}

function store(token: string): void {
  window.sessionStorage.setItem(KEY, token.trim());
}

function stored(): string | null {
  try {
    return window.sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}
