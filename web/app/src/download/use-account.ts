import { ApiProblem, type Job } from "@longhaul/client";
import { useLonghaul } from "@longhaul/react";
import { useEffect, useState } from "react";
import { storedToken } from "../sign-in.js";
import { whileVisible } from "../ui/while-visible.js";

export interface Account {
  needsSignIn: boolean;
  /** The user's newest jobs, also from other browsers and programs. Empty without sign-in. */
  jobs: readonly Job[];
}

const NONE: readonly Job[] = [];

/** List the jobs of the user who is signed in; again when the page becomes visible. */
export function useAccount(): Account {
  const longhaul = useLonghaul();
  const [account, setAccount] = useState<Account>({ needsSignIn: false, jobs: NONE });
  useEffect(
    () =>
      whileVisible((signal) => {
        longhaul.jobs(null, signal).then(
          // Without sign-in, everyone is the same user, and these are everyone's jobs.
          ({ jobs }) => setAccount({ needsSignIn: false, jobs: storedToken() ? jobs : NONE }),
          (error) => {
            if (error instanceof ApiProblem && error.isPermanent && error.status === 401)
              setAccount({ needsSignIn: true, jobs: NONE });
          },
        );
      }),
    [longhaul],
  );
  return account;
}
