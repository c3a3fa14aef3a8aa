import { type FormEvent, useId } from "react";

const KEY = "longhaul:operator-token";

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
    const token = new FormData(event.currentTarget).get("token");
    window.sessionStorage.setItem(KEY, String(token).trim());
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

function stored(): string | null {
  try {
    return window.sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}
