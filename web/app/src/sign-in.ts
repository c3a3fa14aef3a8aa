import { configure } from "@longhaul/client";

/*
 * Where the page gets its access token with AUTH_MODE=jwt. To use your identity provider, replace
 * the call of `configure` by your own, for example `configure({ getToken: () => auth.accessToken() })`.
 *
 * The default is a token that the user pastes, or that the page's URL contains as `#token=…`. It is
 * stored for this tab only.
 */

const KEY = "longhaul:token";

/** Set the source of tokens; call it before the client is created. */
export function configureSignIn(): void {
  takeFromUrl();
  // A link that is opened while the page is open only changes the hash.
  window.addEventListener("hashchange", () => {
    if (takeFromUrl()) window.location.reload();
  });
  configure({ getToken: storedToken, namespace: currentUser() });
}

/**
 * Take the token from the URL, and remove it there, so that it is not copied with the URL. Returns
 * whether there was one.
 */
function takeFromUrl(): boolean {
  const token = new URLSearchParams(window.location.hash.slice(1)).get("token");
  if (!token) return false;
  storeToken(token);
  window.history.replaceState(null, "", window.location.pathname + window.location.search);
  return true;
}

export function storeToken(token: string): void {
  try {
    window.sessionStorage.setItem(KEY, token);
  } catch {
    memory = token;
  }
}

/** Without storage the token lasts until the page closes. */
let memory: string | null = null;

export function storedToken(): string | null {
  try {
    return window.sessionStorage.getItem(KEY) ?? memory;
  } catch {
    return memory;
  }
}

/** Return the user who is signed in, or an empty text. */
export function currentUser(): string {
  return userIn(storedToken());
}

/** Return the user in a JWT, to keep the downloads of several users of this browser apart. */
function userIn(token: string | null): string {
  try {
    const payload = token?.split(".")[1]?.replace(/-/g, "+").replace(/_/g, "/") ?? "";
    return String(JSON.parse(atob(payload)).sub ?? "");
  } catch {
    return "";
  }
}
