// The page of a run's result: the confusion map, keys for deciding on rows.
// Labels and texts are only ever set as text.

// --- confusion map -------------------------------------------------------------------------------
// data: {rows, columns, cells: [[row, column, number], …]}. Tells which cell is opened by the event
// "cell" with [row, column].
const SVG = "http://www.w3.org/2000/svg";
const SIDE = 640;
const FEWEST = 6; // labels that are looked at at least
// Pixels that a cell needs to be named, and to have its number in it.
const NAMED = 11;
const COUNTED = 17;

customElements.define("confusion-map", class extends HTMLElement {
  connectedCallback() {
    if (this.svg) return;
    const { rows, columns, cells } = JSON.parse(this.getAttribute("data"));
    Object.assign(this, { rows, columns, cells });
    this.numbers = new Map(cells.map(([i, j, n]) => [`${i},${j}`, n]));
    this.totals = rows.map(() => 0);
    cells.forEach(([i, , n]) => (this.totals[i] += n));
    this.mistakes = cells.filter(([i, j]) => i !== j).sort((a, b) => b[2] - a[2]);
    this.most = Math.max(rows.length, columns.length);
    this.view = { x: 0, y: 0, size: this.most };
    this.at = this.mistakes.length ? this.mistakes[0].slice(0, 2) : [0, 0];

    const bar = this.appendChild(document.createElement("div"));
    bar.className = "row small";
    for (const [text, name, act] of [
      ["+", "Look closer", () => this.zoom(0.6)], ["−", "Look from further away", () => this.zoom(1 / 0.6)],
      ["All", "Show all labels", () => this.zoom(1e9)], ["Next mistake", "", () => this.step(1)],
    ]) {
      const button = bar.appendChild(document.createElement("button"));
      Object.assign(button, { type: "button", className: "button small", textContent: text, onclick: act });
      if (name) button.setAttribute("aria-label", name);
    }
    this.svg = this.appendChild(document.createElementNS(SVG, "svg"));
    this.svg.setAttribute("viewBox", `0 0 ${SIDE} ${SIDE}`);
    this.svg.setAttribute("role", "application");
    this.svg.setAttribute("aria-label", `${this.getAttribute("aria-label")}. Arrows move, Enter opens, N goes to the next mistake.`);
    this.svg.setAttribute("tabindex", "0");
    this.removeAttribute("aria-label");
    this.said = this.appendChild(document.createElement("p"));
    this.said.setAttribute("role", "status");
    this.said.className = "small at";
    this.listen();
    this.tell();
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  listen() {
    const svg = this.svg;
    svg.addEventListener("keydown", (event) => this.key(event));
    svg.addEventListener("wheel", (event) => {
      if (document.activeElement !== svg) return;
      event.preventDefault();
      this.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.place(event));
    }, { passive: false });
    let from = null;
    svg.addEventListener("pointerdown", (event) => {
      from = { x: event.clientX, y: event.clientY, view: { ...this.view }, moved: false };
      svg.focus({ preventScroll: true });
    });
    svg.addEventListener("pointermove", (event) => {
      if (!from) return this.hover(event);
      const dx = event.clientX - from.x, dy = event.clientY - from.y;
      if (Math.hypot(dx, dy) < 5 || this.view.size >= this.most) return;
      if (!from.moved) svg.setPointerCapture(event.pointerId);
      from.moved = true;
      const cell = (svg.clientWidth * this.cell()) / SIDE;
      this.look(from.view.x - dx / cell, from.view.y - dy / cell, from.view.size);
    });
    svg.addEventListener("pointerup", (event) => {
      const was = from;
      from = null;
      if (!was || was.moved) return;
      const near = this.near(event);
      if (near) { this.go(near); this.open(); }
    });
    svg.addEventListener("pointercancel", () => (from = null));
  }

  // The drawing is SIDE units wide, whatever its width in pixels; texts stay of one size in pixels.
  wide() { return this.svg.clientWidth || SIDE; }
  unit() { return SIDE / this.wide(); }
  names() { return this.wide() > 500 ? 150 : 96; }
  fits(pixels) { return Math.floor((this.wide() - this.names()) / pixels); }
  margin() { return this.view.size <= this.fits(NAMED) ? this.names() * this.unit() : 8; }
  cell() { return (SIDE - this.margin()) / this.view.size; }

  place(event) {
    const box = this.svg.getBoundingClientRect(), scale = SIDE / box.width;
    const m = this.margin(), cell = this.cell();
    return [((event.clientY - box.top) * scale - m) / cell + this.view.y, ((event.clientX - box.left) * scale - m) / cell + this.view.x];
  }

  near(event) { // the filled cell under the pointer, or next to it where cells are tiny
    const [y, x] = this.place(event);
    const reach = Math.max(0.5, 8 / ((this.cell() * this.svg.clientWidth) / SIDE));
    let best = null, least = reach;
    for (const [i, j] of this.cells) {
      const distance = Math.max(Math.abs(i + 0.5 - y), Math.abs(j + 0.5 - x));
      const weighed = distance + (i === j ? 0.01 : 0);
      if (weighed <= least) { best = [i, j]; least = weighed; }
    }
    return best;
  }

  hover(event) {
    const near = this.near(event);
    this.svg.style.cursor = near ? "pointer" : this.view.size < this.most ? "grab" : "default";
    if (near && (near[0] !== this.at[0] || near[1] !== this.at[1])) this.go(near);
  }

  key(event) {
    const [i, j] = this.at;
    const to = {
      ArrowUp: [i - 1, j], ArrowDown: [i + 1, j], ArrowLeft: [i, j - 1], ArrowRight: [i, j + 1],
      Home: [i, 0], End: [i, this.columns.length - 1],
    }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (to) this.go([Math.min(Math.max(to[0], 0), this.rows.length - 1), Math.min(Math.max(to[1], 0), this.columns.length - 1)], true);
    else if (event.key === "Enter" || event.key === " ") this.open();
    else if (event.key === "+" || event.key === "=") this.zoom(0.6, [i + 0.5, j + 0.5]);
    else if (event.key === "-") this.zoom(1 / 0.6, [i + 0.5, j + 0.5]);
    else if (event.key === "0") this.zoom(1e9);
    else if (event.key === "n" || event.key === "p") this.step(event.key === "n" ? 1 : -1);
    else return;
    event.preventDefault();
  }

  step(by) {
    if (!this.mistakes.length) return;
    const now = this.mistakes.findIndex(([i, j]) => i === this.at[0] && j === this.at[1]);
    const next = this.mistakes[(now + by + this.mistakes.length) % this.mistakes.length];
    if (this.view.size > this.fits(NAMED)) {
      const size = Math.min(this.fits(COUNTED), this.most);
      this.look(next[1] - size / 2, next[0] - size / 2, size);
    }
    this.go(next.slice(0, 2), true);
  }

  open() {
    if (this.numbers.get(this.at.join())) this.dispatchEvent(new CustomEvent("cell", { detail: this.at }));
  }

  go(at, follow = false) {
    this.at = at;
    const { x, y, size } = this.view;
    if (follow && (at[0] < y || at[0] >= y + size || at[1] < x || at[1] >= x + size))
      this.look(at[1] - size / 2, at[0] - size / 2, size);
    else this.mark();
    this.tell();
  }

  zoom(by, around) {
    const [cy, cx] = around ?? [this.at[0] + 0.5, this.at[1] + 0.5];
    const size = Math.round(Math.min(this.most, Math.max(Math.min(FEWEST, this.most), this.view.size * by)));
    const share = size / this.view.size;
    const keep = around ? [cx - (cx - this.view.x) * share, cy - (cy - this.view.y) * share] : [cx - size / 2, cy - size / 2];
    this.look(keep[0], keep[1], size);
  }

  look(x, y, size) {
    const bound = (value) => Math.round(Math.min(Math.max(value, 0), this.most - size));
    this.view = { x: bound(x), y: bound(y), size };
    this.draw();
  }

  tell() {
    const [i, j] = this.at, n = this.numbers.get(this.at.join()) ?? 0, total = this.totals[i];
    const share = total ? Math.round((100 * n) / total) : 0;
    const answer = i === j ? "answered rightly" : `answered as “${this.columns[j]}”`;
    this.said.textContent = `“${this.rows[i]}” ${answer}: ${n.toLocaleString()} of ${total.toLocaleString()} rows (${share} %)`;
  }

  add(name, given, parent = this.svg) {
    const made = parent.appendChild(document.createElementNS(SVG, name));
    for (const [key, value] of Object.entries(given)) made.setAttribute(key, value);
    return made;
  }

  draw() {
    const { x, y, size } = this.view, m = this.margin(), cell = this.cell();
    this.svg.replaceChildren();
    this.svg.style.fontSize = `${11 * this.unit()}px`;
    this.add("rect", { class: "ground", x: m, y: m, width: SIDE - m, height: SIDE - m });
    for (const [i, j, n] of this.cells) {
      if (i < y || i >= y + size || j < x || j >= x + size) continue;
      const share = n / this.totals[i], right = i === j;
      const gap = cell > 6 ? 1 : 0;
      this.add("rect", {
        class: right ? "hit" : "miss", x: m + (j - x) * cell, y: m + (i - y) * cell, width: cell - gap, height: cell - gap,
        "fill-opacity": (right ? 0.25 + 0.75 * share : Math.max(0.6, Math.sqrt(share))).toFixed(2),
      });
      if (size <= this.fits(COUNTED)) {
        const strong = right ? share > 0.4 : Math.sqrt(share) > 0.6;
        this.add("text", { class: `n ${strong ? "strong" : ""}`, x: m + (j - x + 0.5) * cell, y: m + (i - y + 0.5) * cell + 4 * this.unit() }).textContent = n.toLocaleString();
      }
    }
    if (size <= this.fits(NAMED)) this.write(m, cell);
    this.mark();
  }

  write(m, cell) {
    const { x, y, size } = this.view, most = Math.floor(this.names() / 6.6), gap = 6 * this.unit(), down = 4 * this.unit();
    const short = (text) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
    for (let k = 0; k < size; k++) {
      if (y + k < this.rows.length)
        this.add("text", { class: "name", x: m - gap, y: m + (k + 0.5) * cell + down, "text-anchor": "end" }).textContent = short(this.rows[y + k]);
      if (x + k < this.columns.length) {
        const across = m + (k + 0.5) * cell + down;
        this.add("text", { class: "name", x: across, y: m - gap, transform: `rotate(-90 ${across} ${m - gap})` }).textContent = short(this.columns[x + k]);
      }
    }
  }

  mark() {
    this.svg.querySelector(".at")?.remove();
    const { x, y, size } = this.view, m = this.margin(), cell = this.cell(), [i, j] = this.at;
    if (i < y || i >= y + size || j < x || j >= x + size) return;
    const wide = Math.max(cell, 9);
    this.add("rect", { class: "at", x: m + (j - x + 0.5) * cell - wide / 2, y: m + (i - y + 0.5) * cell - wide / 2, width: wide, height: wide });
  }
});

// --- deciding by keys ----------------------------------------------------------------------------
const cardOf = (element) => element?.closest?.(".suspects > li.card");
const nextCard = (card, by) => {
  for (let at = card; at; at = by > 0 ? at.nextElementSibling : at.previousElementSibling)
    if (at !== card && at.matches(".card")) return at;
  return null;
};
const focusCard = (card) => { if (card) { card.focus(); card.scrollIntoView({ block: "nearest" }); } };

document.addEventListener("keydown", (event) => {
  const card = cardOf(document.activeElement);
  if (!card || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select")) return;
  const isTicked = card.parentElement.querySelector("input[type=checkbox]:checked");
  const key = event.key.toLowerCase();
  if (key === "arrowdown" || key === "arrowup") focusCard(nextCard(card, key === "arrowdown" ? 1 : -1));
  else if (key === "a" || key === "u") document.querySelector(`[data-act=${key}]`)?.click();
  else if (key === "x") card.querySelector("[data-key=x]")?.click();
  else if (key === "l") {
    const list = isTicked ? document.querySelector(".bulk [data-key=l]") : card.querySelector("[data-key=l]");
    list?.focus();
    try { list?.showPicker(); } catch {}
  } else if (["k", "s", "d"].includes(key)) {
    if (isTicked) document.querySelector(`[data-bulk=${key}]`)?.click();
    else {
      card.querySelector(`button[data-key=${key}]`)?.click();
      focusCard(nextCard(card, 1) ?? card);
    }
  } else return;
  event.preventDefault();
});
// What is inside of a card is made anew when it is decided on; the card itself stays.
document.addEventListener("click", (event) => {
  if (event.target.closest?.(".suspects .decide button")) cardOf(event.target)?.focus({ preventScroll: true });
});
document.addEventListener("focusin", (event) => {
  const list = event.target;
  if (!list.matches?.(".suspects select") || list.options.length > 1) return;
  const all = document.querySelector(".bulk select");
  for (const option of [...all.options].slice(1)) list.add(new Option(option.text, option.value));
});
document.addEventListener("change", (event) => {
  const card = event.target.matches?.(".suspects select") && cardOf(event.target);
  if (card) focusCard(nextCard(card, 1) ?? card);
});
