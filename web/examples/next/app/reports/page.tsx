// app/reports/page.tsx
import { Download } from "./download";
import { idsOfThisUsersReports } from "./ids"; // yours

export default async function Page() {
  const fileIds = await idsOfThisUsersReports();
  return <Download fileIds={fileIds} />;
}
