import { Longhaul } from "longhaul-web/client";

const longhaul = new Longhaul(); // { baseUrl, headers: () => ({ Authorization: … }) }
const download = await longhaul.start([10001, 10002], { fileName: "reports.zip" });
download.subscribe(() => console.log(download.state.connection, download.state.job?.progress));
const job = await download.finished(); // throws JobUnsuccessful if the job fails
console.log(job.downloadUrl);
