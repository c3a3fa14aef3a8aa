import { configure } from "longhaul-web/client";

configure({ getToken: () => session.accessToken() }); // yours; may be async

declare const session: { accessToken(): Promise<string> };
