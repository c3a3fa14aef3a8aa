// app/reports/download.tsx
"use client";

import { Longhaul } from "longhaul-web/client";
import { DownloadButton, LonghaulProvider } from "longhaul-web/react";
import "longhaul-web/button.css";

const client = new Longhaul();

export function Download({ fileIds }: { fileIds: number[] }) {
  return (
    <LonghaulProvider client={client}>
      <DownloadButton fileIds={fileIds} options={{ onMissing: "skip" }} />
    </LonghaulProvider>
  );
}
