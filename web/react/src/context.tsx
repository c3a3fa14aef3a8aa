import { Longhaul } from "@longhaul/client";
import { createContext, type ReactNode, useContext } from "react";

const Context = createContext<Longhaul | null>(null);

let ownClient: Longhaul | null = null;

export interface LonghaulProviderProps {
  client: Longhaul;
  children: ReactNode;
}

/** Provides the client, which knows the API's URL and the user's credentials. */
export function LonghaulProvider({ client, children }: LonghaulProviderProps) {
  return <Context.Provider value={client}>{children}</Context.Provider>;
}

/** Return the provided client, or a default one for the page's origin. */
export function useLonghaul(): Longhaul {
  const provided = useContext(Context);
  if (provided) return provided;
  ownClient ??= new Longhaul();
  return ownClient;
}
