import { type FormEvent, useId } from "react";

const KEY = "longhaul:operator-token";

/** The header that makes this tab's calls an operator's; none until a token was given. */
export function authorization(): HeadersInit {
  const token = stored();
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** Asks for the operator's token. It is kept for this tab only. */
export function TokenForm() {
  const inputId = useId();
  const keep = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const token = new FormData(event.currentTarget).get("token");
    window.sessionStorage.setItem(KEY, String(token).trim());
    window.location.reload();
  };
  return (
    <form className="token" onSubmit={keep}>
      <label htmlFor={inputId}>
        {stored() ? "This token does not open it. Another one:" : "The operator's token:"}
      </label>
      <input id={inputId} className="input" type="password" name="token" required />
      <button className="button" type="submit">
        Use
      </button>
    </form>
  );
}

function stored(): string | null {
  try {
    return window.sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}
