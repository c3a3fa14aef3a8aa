import { type FormEvent, useId } from "react";
import { storedToken, storeToken } from "../sign-in.js";

/** Asks for an access token; the page loads again with it. */
export function SignInForm() {
  const inputId = useId();
  const errorId = useId();
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    storeToken(String(new FormData(event.currentTarget).get("token")).trim());
    window.location.reload();
  };
  const wasRejected = storedToken() !== null;
  return (
    <form className="composer card" onSubmit={submit} aria-label="Sign in">
      <div className="field">
        <label htmlFor={inputId}>Access token</label>
        <input
          id={inputId}
          className="input"
          type="password"
          name="token"
          autoComplete="off"
          required
          aria-invalid={wasRejected}
          aria-describedby={errorId}
        />
        <p id={errorId} className="small muted" data-mistake={wasRejected || undefined}>
          {wasRejected
            ? "The token wasn't accepted or has expired. Enter another one."
            : "Sign in to start downloads and see your own."}
        </p>
      </div>
      <button className="button primary start" type="submit">
        Sign in
      </button>
    </form>
  );
}
