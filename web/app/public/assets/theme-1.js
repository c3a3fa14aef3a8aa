// Applies the chosen theme before the first paint. Change the name with the content: it is cached.
try {
  const theme = localStorage.getItem("longhaul:theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Without storage the page follows the system.
}
