// Restores the chosen colours before the page is painted. Not a module, as modules run later.
(() => {
  try {
    const theme = localStorage.getItem("theme");
    if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage may be disabled; then the colours of the system are used.
  }
})();
