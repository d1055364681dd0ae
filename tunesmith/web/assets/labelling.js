// The labelling page: keys press its buttons, and labels are searched. Nothing is done here.
(() => {
  const OFF = "tunesmith-label-keys-off";
  const isOff = () => { try { return localStorage.getItem(OFF) === "1"; } catch { return false; } };
  const place = () => document.querySelector("[data-labelling]");
  const isShown = (element) => element.getClientRects().length > 0;
  const search = () => document.getElementById("label-search");

  function filter(words) {
    const wanted = words.trim().toLocaleLowerCase();
    let left = 0;
    for (const button of place().querySelectorAll(".label-button")) {
      button.hidden = !button.querySelector(".name").textContent.toLocaleLowerCase().includes(wanted);
      left += !button.hidden;
    }
    place().querySelector(".none").hidden = left > 0;
  }
  function clear() {
    if (!search()) return;
    search().value = "";
    filter("");
  }

  function inSearch(event) {
    if (event.key === "Escape") { clear(); search().blur(); event.preventDefault(); }
    if (event.key !== "Enter") return;
    event.preventDefault();
    [...place().querySelectorAll(".label-button")].find(isShown)?.click();
  }

  document.addEventListener("keydown", (event) => {
    if (!place() || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target === search()) return inSearch(event);
    if (event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable], dialog")) return;
    if (isOff() && event.key !== "?") return;
    if (event.repeat) return;
    if (event.key === "/" && search()) { search().focus(); event.preventDefault(); return; }
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const button = place().querySelector(`[data-key="${CSS.escape(key)}"]`);
    if (!button || !isShown(place())) return;
    event.preventDefault();
    button.click();
  });
  document.addEventListener("input", (event) => event.target === search() && filter(search().value));
  document.addEventListener("click", (event) => {
    const opens = event.target.closest?.("[data-opens]")?.dataset.opens;
    if (opens) {
      const dialog = document.getElementById(opens);
      dialog.querySelector("[data-keys]").checked = !isOff();
      dialog.showModal();
    }
    const closes = event.target.closest?.("[data-closes]")?.dataset.closes;
    if (closes) document.getElementById(closes).close();
    if (event.target.closest?.(".label-button") && search()) { clear(); search().blur(); }
  });
  document.addEventListener("change", (event) => {
    if (!event.target.matches?.("[data-keys]")) return;
    try { event.target.checked ? localStorage.removeItem(OFF) : localStorage.setItem(OFF, "1"); } catch {}
  });
  // A new row begins at its top.
  new MutationObserver((changes) => {
    if (changes.some((change) => change.target.matches?.("[data-labelling]"))) {
      const text = place()?.querySelector(".label-text");
      if (text) text.scrollTop = 0;
    }
  }).observe(document.documentElement, { subtree: true, attributeFilter: ["data-row"] });
})();
