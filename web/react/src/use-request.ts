import { useCallback, useState } from "react";

/** Send a request, and remember its kind until it ends. */
export type SendRequest<Kind> = (kind: Kind, call: () => Promise<unknown>) => Promise<void>;

/** Track the user's request and its error, which remains until the next request or `setError`. */
export function useRequest<Kind extends string>() {
  const [pending, setPending] = useState<Kind | null>(null);
  const [requestError, setError] = useState<Error | null>(null);
  const request: SendRequest<Kind> = useCallback(async (kind, call) => {
    setPending(kind);
    setError(null);
    try {
      await call();
    } catch (error) {
      setError(error instanceof Error ? error : new Error(String(error)));
    } finally {
      setPending(null);
    }
  }, []);
  return { pending, requestError, request, setError };
}
