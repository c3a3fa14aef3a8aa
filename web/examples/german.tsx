import { DownloadButton, GERMAN } from "longhaul-web/react";

export const Berichte = () => (
  <DownloadButton
    fileIds={[10001, 10002]}
    labels={{ ...GERMAN, download: "Berichte laden" }}
    autoSave
    onSuccess={(job) => console.log(job.fileName, job.missingFiles)}
    onError={(error) => console.error(error.message)}
  />
);
