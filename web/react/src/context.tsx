import { Longhaul } from "@longhaul/client";
import { createContext, type ReactNode, useContext } from "react";

const Context = createContext<Longhaul | null>(null);

let ownClient: Longhaul | null = null;

export interface LonghaulProviderProps {
  client: Longhaul;
  children: ReactNode;
}

/** Gives everything below it one client: where the API is and who calls. */
export function LonghaulProvider({ client, children }: LonghaulProviderProps) {
  return <Context.Provider value={client}>{children}</Context.Provider>;
}

/** The client of the provider above, or one for the page's own origin. */
export function useLonghaul(): Longhaul {
  const given = useContext(Context);
  if (given) return given;
  ownClient ??= new Longhaul();
  return ownClient;
}
