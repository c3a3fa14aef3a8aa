// First, because the styles of the pages override them.
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/controls.css";
import "./styles/shell.css";

import { Longhaul } from "@longhaul/client";
import { LonghaulProvider } from "@longhaul/react";
import { lazy, StrictMode, Suspense } from "react";
import { createRoot } from "react-dom/client";
import DownloadPage from "./download/page.js";
import {
  authorization,
  followOtherTabs,
  followTokenLinks,
  takeTokenFromUrl,
} from "./operator/token.js";
import { configureSignIn } from "./sign-in.js";
import { Shell } from "./ui/shell.js";
import { applyTheme, storedTheme } from "./ui/theme.js";

const OperatorPage = lazy(() => import("./operator/page.js"));

const isOperator = window.location.pathname.replace(/\/$/, "") === "/operator";

// The token in a link is the operator's on the operator page, else the user's.
if (isOperator) {
  takeTokenFromUrl();
  followTokenLinks();
  followOtherTabs();
}
configureSignIn();
applyTheme(storedTheme());

const root = document.getElementById("root");
if (!root) throw new Error("The page has no #root");

createRoot(root).render(
  <StrictMode>
    <LonghaulProvider client={new Longhaul(isOperator ? { headers: authorization } : {})}>
      <Shell page={isOperator ? "operator" : "downloads"}>
        <Suspense fallback={null}>{isOperator ? <OperatorPage /> : <DownloadPage />}</Suspense>
      </Shell>
    </LonghaulProvider>
  </StrictMode>,
);
