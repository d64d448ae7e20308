// Before the page is painted: the colours that were chosen last time. It is no module because those run later.
(() => {
  try {
    const theme = localStorage.getItem("theme");
    if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage can be forbidden; then the system's colours are used.
  }
})();
