/** Stands for what a real page reads from its own database. */
export async function idsOfThisUsersReports(): Promise<number[]> {
  return [10001, 10002];
}
