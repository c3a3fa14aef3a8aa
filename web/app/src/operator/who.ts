/** The user's name, where there is one. */
export function who(userId: string): string {
  return userId === "anonymous" ? "" : userId;
}
