// What pages need besides what NiceGUI does. No text of others becomes markup here.

// --- times, in the reader's zone and language ---------------------------------------------------
const relative = new Intl.RelativeTimeFormat(navigator.language, { numeric: "auto" });
const full = new Intl.DateTimeFormat(navigator.language, { dateStyle: "medium", timeStyle: "short" });
const clock = new Intl.DateTimeFormat(navigator.language, { timeStyle: "medium" });
const UNITS = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60]];

function writeTime(element) {
  const at = Number(element.dataset.at);
  const date = new Date(at * 1000);
  element.dateTime = date.toISOString();
  element.title = full.format(date);
  const past = at - Date.now() / 1000;
  const [unit, size] = UNITS.find(([, size]) => Math.abs(past) >= size) ?? ["second", 1];
  const ago = unit === "second" ? "just now" : relative.format(Math.round(past / size), unit);
  const text = { ago, full: full.format(date), clock: clock.format(date) }[element.dataset.form] ?? ago;
  if (element.textContent !== text) element.textContent = text;
}
const writeTimes = (root) => root.querySelectorAll?.("time[data-at]").forEach(writeTime);
setInterval(() => writeTimes(document), 20000);
new MutationObserver((changes) => {
  for (const change of changes) {
    if (change.type === "attributes") { if (change.target.matches("time[data-at]")) writeTime(change.target); continue; }
    for (const node of change.addedNodes) {
      if (node.nodeType !== Node.ELEMENT_NODE) continue;
      if (node.matches("time[data-at]")) writeTime(node);
      writeTimes(node);
    }
  }
}).observe(document.documentElement, { subtree: true, childList: true, attributeFilter: ["data-at"] });

// --- menu, colours, hints -----------------------------------------------------------------------
function showTheme() {
  const dark = window.theme.isDark();
  document.querySelectorAll("button.theme").forEach((button) => button.setAttribute("aria-pressed", String(dark)));
  window.Quasar?.Dark?.set(dark);
  Object.keys(curves.all).forEach((id) => curves.paint(id));
}
document.addEventListener("theme", showTheme);
document.addEventListener("visibilitychange", () => document.hidden || Object.keys(curves.all).forEach((id) => curves.paint(id)));
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button.theme, button.menu");
  if (button?.matches(".theme")) window.theme.toggle();
  if (button?.matches(".menu")) button.setAttribute("aria-expanded", String(button.getAttribute("aria-expanded") !== "true"));
});
document.addEventListener("keydown", (event) => {
  const menu = document.querySelector("button.menu[aria-expanded=true]");
  if (event.key === "Escape" && menu) { menu.setAttribute("aria-expanded", "false"); menu.focus(); }
});
document.addEventListener("toggle", (event) => {
  const hint = event.target;
  if (event.newState !== "open" || !hint.matches?.(".term > [popover]")) return;
  const place = hint.previousElementSibling.getBoundingClientRect();
  const left = Math.min(place.left, innerWidth - hint.offsetWidth - 12);
  const below = place.bottom + 6 + hint.offsetHeight < innerHeight;
  hint.style.left = `${Math.max(12, left)}px`;
  hint.style.top = `${below ? place.bottom + 6 : Math.max(6, place.top - hint.offsetHeight - 6)}px`;
}, true);

// --- a session that has ended, seen when the socket cannot come back -----------------------------
const socketSeen = setInterval(() => {
  if (!window.socket) return;
  clearInterval(socketSeen);
  showTheme();
  window.socket.on("connect_error", async () => {
    const answer = await fetch("/login/check").catch(() => null);
    if (answer?.status === 401) location.replace(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  });
}, 50);

// --- files ---------------------------------------------------------------------------------------
const size = (bytes) => bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3)).toLocaleString()} KB` : `${(bytes / 1e6).toFixed(1)} MB`;

customElements.define("file-drop", class extends HTMLElement {
  connectedCallback() {
    if (this.input) return;
    const add = (name, properties) => this.appendChild(Object.assign(document.createElement(name), properties));
    const id = `file-${this.id}`;
    this.input = add("input", { type: "file", id });
    this.input.setAttribute("aria-describedby", `${id}-said`);
    const label = add("label", { htmlFor: id, className: "button primary", textContent: this.getAttribute("label") });
    if (this.classList.contains("compact")) label.className = "button small";
    this.said = add("p", { id: `${id}-said`, textContent: this.getAttribute("hint") });
    this.said.setAttribute("role", "status");
    this.bar = add("progress", { max: 1, value: 0, hidden: true });
    this.bar.setAttribute("aria-label", "How much of the file has arrived");
    this.input.addEventListener("change", () => this.input.files[0] && this.send(this.input.files[0]));
    this.addEventListener("dragover", (event) => { event.preventDefault(); this.classList.add("over"); });
    this.addEventListener("dragleave", () => this.classList.remove("over"));
    this.addEventListener("drop", (event) => {
      event.preventDefault();
      this.classList.remove("over");
      if (event.dataTransfer.files[0]) this.send(event.dataTransfer.files[0]);
    });
  }
  say(text, wrong = false) {
    this.said.textContent = text;
    this.said.classList.toggle("wrong", wrong);
  }
  send(file) {
    if (this.request) this.request.abort();
    const limit = Number(this.getAttribute("limit"));
    if (file.size > limit) return this.say(`${file.name} has ${size(file.size)}; the most is ${size(limit)}.`, true);
    const request = (this.request = new XMLHttpRequest());
    const end = (text, wrong) => { this.bar.hidden = true; this.input.value = ""; this.request = null; this.say(text, wrong); };
    request.open("PUT", `${this.getAttribute("url")}?name=${encodeURIComponent(file.name)}`);
    request.upload.onprogress = (event) => {
      this.bar.value = event.loaded / event.total;
      this.say(`Sending ${file.name}: ${size(event.loaded)} of ${size(event.total)}`);
    };
    request.onload = () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch {}
      if (request.status === 401) return location.assign("/login");
      if (request.status !== 200) return end(answer.error ?? `The server answered with status ${request.status}.`, true);
      end(`${answer.name} is here.`);
      emitEvent("table_arrived", answer);
    };
    request.onerror = () => end("The connection broke off. Choose the file again.", true);
    this.bar.hidden = false;
    this.bar.value = 0;
    this.say(`Sending ${file.name}`);
    request.send(file);
  }
});

// --- curves --------------------------------------------------------------------------------------
// Points come as {step, train, dev, train_right, dev_right}; a chart shows two of these.
const curves = (window.curves = {
  all: {},
  start(id, names, percent, points) {
    this.all[id] = { names, percent, series: names.map(() => []) };
    this.add(id, points);
  },
  add(id, points) {
    const curve = this.all[id];
    if (!curve) return;
    curve.names.forEach((name, n) => {
      for (const point of points) if (name in point) curve.series[n].push([point.step, point[name] * (curve.percent ? 100 : 1)]);
      if (curve.series[n].length > 1500) curve.series[n] = curve.series[n].filter((_, k) => k % 2 === 0 || k === curve.series[n].length - 1);
    });
    if (!document.hidden) this.paint(id);
  },
  paint(id) {
    const curve = this.all[id];
    const chart = window.getElement?.(id)?.chart;
    if (!chart) return setTimeout(() => document.getElementById(`c${id}`) && this.paint(id), 100);
    const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
    const axis = { axisLine: { lineStyle: { color: token("line") } }, axisLabel: { color: token("quiet") }, splitLine: { lineStyle: { color: token("line") } } };
    const colours = [token("train"), token("dev")];
    chart.setOption({
      color: colours, animation: false,
      textStyle: { fontFamily: token("sans"), color: token("ink") },
      legend: { textStyle: { color: token("ink") } },
      xAxis: { ...axis, splitLine: { show: false } }, yAxis: axis,
      tooltip: { backgroundColor: token("sheet"), borderColor: token("edge"), textStyle: { color: token("ink") } },
      series: curve.series.map((data, n) => ({
        data, lineStyle: { width: n ? 2.5 : 1.5, type: n ? "solid" : "solid", color: colours[n] },
        showSymbol: n === 1 && data.length < 60, symbol: n ? "circle" : "none",
      })),
    });
  },
});
