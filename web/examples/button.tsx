import { DownloadButton } from "longhaul-web/react";
import "longhaul-web/button.css";

export const Reports = () => <DownloadButton fileIds={[10001, 10002]} />;
