import { DownloadButton } from "@longhaul/react";
import "@longhaul/react/button.css";

export const Reports = () => <DownloadButton fileIds={[10001, 10002]} />;
