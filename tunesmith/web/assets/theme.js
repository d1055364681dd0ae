// Dark or light, before anything is drawn: as chosen here, else as the system says.
(() => {
  const KEY = "tunesmith-theme";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => { try { return localStorage.getItem(KEY); } catch { return null; } };
  const apply = () => {
    const dark = (chosen() ?? (system.matches ? "dark" : "light")) === "dark";
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    document.dispatchEvent(new CustomEvent("theme", { detail: { dark } }));
  };
  system.addEventListener("change", apply);
  window.addEventListener("storage", (event) => event.key === KEY && apply());
  window.theme = {
    isDark: () => document.documentElement.dataset.theme === "dark",
    toggle() {
      const next = this.isDark() ? "light" : "dark";
      const natural = system.matches ? "dark" : "light";
      try { next === natural ? localStorage.removeItem(KEY) : localStorage.setItem(KEY, next); } catch {}
      document.documentElement.dataset.theme = next;
      document.dispatchEvent(new CustomEvent("theme", { detail: { dark: next === "dark" } }));
    },
  };
  apply();
})();
