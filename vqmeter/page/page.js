// The page: reads its numbers, builds the controls of the curves, and keeps curves, read-out and slider in step.
(() => {
  const $ = (id) => document.getElementById(id);
  const root = document.documentElement;

  /** An element with text and attributes; text is never read as markup. */
  function make(name, text = "", attributes = {}, ...children) {
    const element = document.createElement(name);
    element.textContent = text;
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  // --- colours, and tables wider than the page, which the keyboard must reach ---

  let redraw = () => {};
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  function setTheme(theme) {
    if (theme) root.dataset.theme = theme; else delete root.dataset.theme;
    $("theme").setAttribute("aria-pressed", String(isDark()));
    redraw();
  }
  $("theme").hidden = false;
  $("theme").addEventListener("click", () => setTheme(isDark() ? "light" : "dark"));
  system.addEventListener("change", () => setTheme(root.dataset.theme));
  setTheme("");

  function reachable() {
    for (const box of document.querySelectorAll(".wide")) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0; else box.removeAttribute("tabindex");
    }
  }
  window.addEventListener("resize", reachable);
  document.addEventListener("toggle", reachable, true);
  reachable();
  if (!$("panels")) return;

  // --- the numbers ---

  const { metrics, clips } = JSON.parse($("data").textContent);
  const number = (v) => (v === null || v === undefined ? NaN : v === "inf" ? Infinity : v === "-inf" ? -Infinity : v);
  const steps = (row, count) =>
    Float64Array.from({ length: count }, count > 1 && row.length === 2 ? (_, i) => row[0] + i * row[1] : (_, i) => row[i]);
  clips.forEach((clip, index) => {
    clip.index = index;
    clip.colour = `c${index % 8}`;
    clip.on = clip.count > 0 && index < 8;
    clip.n = steps(clip.n, clip.count);
    clip.t = clip.t && steps(clip.t, clip.count);
    for (const name of Object.keys(clip.scores)) clip.scores[name] = Float64Array.from(clip.scores[name], number);
  });
  const full = clips.filter(({ count }) => count);
  const drawn = metrics.filter(({ name }) => full.some((clip) => clip.scores[name]));
  const lesser = ({ name }) => /_(cb|cr|u|v)$/.test(name) || drawn.some((other) => other.name === `${name}_y`);
  drawn.forEach((metric) => { metric.on = !lesser(metric) && drawn.filter(({ on }) => on).length < 4; });
  if (!drawn.some(({ on }) => on)) drawn[0].on = true;

  const state = { axis: "n", view: [0, 1], at: null, drag: null, hot: -1 };
  const xs = (clip) => clip[state.axis];
  const chosen = () => full.filter(({ on }) => on);
  const scores = () => drawn.filter(({ on }) => on);
  const lead = () => chosen()[0] || full[0];
  const every = (clip) => (clip.count > 1 ? (xs(clip)[clip.count - 1] - xs(clip)[0]) / (clip.count - 1) : 1);

  const ends = () => [Math.min(...full.map((clip) => xs(clip)[0])), Math.max(...full.map((clip) => xs(clip)[clip.count - 1]))];
  function whole() {
    const [low, high] = ends();
    return high > low ? [low, high] : [low - 1, low + 1];
  }

  /** First row of a clip in view, and the row behind the last. */
  const inView = (clip) => [bound(xs(clip), state.view[0] - 1e-9), bound(xs(clip), state.view[1] + 1e-9)];

  /** The row of a clip at x, or -1 where it has no frame there. */
  function rowAt(clip, x) {
    if (x === null) return -1;
    const row = nearest(xs(clip), x);
    return Math.abs(xs(clip)[row] - x) <= 0.51 * every(clip) ? row : -1;
  }

  const score = (clip, name, row) => (row < 0 || !clip.scores[name] ? NaN : clip.scores[name][row]);
  const kind = (clip, row) => (row < 0 ? "" : clip.types[row].replace("?", ""));
  const size = (clip, row) => (row < 0 || !clip.bytes ? "" : String(clip.bytes[row] ?? ""));

  // --- zoom, and the frame pointed at ---

  function show(low, high) {
    const [first, last] = whole();
    const width = Math.min(last - first, Math.max(4 * every(lead()), high - low));
    const from = Math.min(Math.max(first, (low + high - width) / 2), last - width);
    state.view = [from, from + width];
    update();
  }

  function zoom(factor, about) {
    const [low, high] = state.view;
    const centre = about ?? (state.at !== null && state.at >= low && state.at <= high ? state.at : (low + high) / 2);
    show(centre - (centre - low) * factor, centre + (high - centre) * factor);
  }

  function move(part) {
    const [first, last] = whole(), [low, high] = state.view;
    const by = Math.max(first - low, Math.min(last - high, (high - low) * part));
    show(low + by, high + by);
  }

  /** Point at the frame of the first chosen clip nearest to x, and bring it into view. */
  function point(x, bring = true) {
    const [low, high] = state.view, clip = lead();
    state.at = xs(clip)[nearest(xs(clip), x)];
    if (bring && (state.at < low || state.at > high)) show(state.at - (high - low) / 2, state.at + (high - low) / 2);
    else update();
  }

  function worst() {
    const metric = scores()[0] || drawn[0], sign = metric.better === "higher" ? 1 : -1;
    let found = null;
    for (const clip of chosen()) {
      const [from, to] = inView(clip);
      for (let row = from; row < to; row++) {
        const value = sign * score(clip, metric.name, row);
        if (!Number.isNaN(value) && (found === null || value < found.value)) found = { value, x: xs(clip)[row] };
      }
    }
    if (found) point(found.x);
  }

  const actions = {
    in: () => zoom(0.5), out: () => zoom(2), left: () => move(-0.5), right: () => move(0.5), all: () => show(...whole()), worst,
  };
  for (const button of document.querySelectorAll("[data-do]")) button.addEventListener("click", actions[button.dataset.do]);
  $("curves").addEventListener("keydown", (event) => {
    const wanted = { "+": "in", "=": "in", "-": "out", "_": "out", 0: "all" }[event.key];
    if (!wanted || event.ctrlKey || event.metaKey || event.altKey) return;
    actions[wanted]();
    event.preventDefault();
  });

  // --- controls ---

  function tick(thing, ...names) {
    const box = make("input", "", { type: "checkbox" });
    box.checked = thing.on;
    box.addEventListener("change", () => { thing.on = box.checked; build(); });
    thing.box = box;
    return make("label", "", {}, box, ...names);
  }
  for (const metric of drawn) $("scores").append(tick(metric, metric.name));
  $("along").hidden = !full.every(({ t }) => t);
  $("along").addEventListener("change", (event) => {
    const clip = lead(), row = rowAt(clip, state.at), [from, to] = state.view.map((x) => nearest(xs(clip), x));
    state.axis = event.target.value;
    state.at = row < 0 ? null : xs(clip)[row];
    show(xs(clip)[from], xs(clip)[to]);
  });
  $("full").addEventListener("change", () => redraw());
  $("scrub").addEventListener("input", () => point(xs(lead())[Number($("scrub").value)]));
  $("numbers").addEventListener("toggle", () => update());
  for (const button of document.querySelectorAll(".go")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const clip = clips[Number(button.dataset.clip)];
      clip.on = clip.box.checked = true;
      build();
      point(xs(clip)[nearest(clip.n, Number(button.dataset.frame))]);
      $("curves").scrollIntoView();
      $("scrub").focus({ preventScroll: true });
    });
  }

  // --- the read-out: a row a clip, a column a score ---

  const row = (first, cells) => make("tr", "", {}, first, ...cells);
  const title = (text) => make("th", text, { scope: "col" });
  const cell = (text = "") => make("td", text, { class: "number" });
  const units = drawn.map(({ name, unit }) => `${name} ${unit}`.trim());
  $("readout").tHead.append(row(title("clip"), [...units, "type", "bytes"].map(title)));
  for (const clip of full) {
    clip.cells = [...drawn, "type", "bytes"].map(() => cell());
    clip.row = row(make("th", "", { scope: "row" }, tick(clip, make("span", "", { class: `swatch ${clip.colour}` }), make("bdi", clip.label))), clip.cells);
    clip.row.addEventListener("pointerenter", () => { state.hot = clip.index; redraw(); });
    clip.row.addEventListener("pointerleave", () => { state.hot = -1; redraw(); });
    $("readout").tBodies[0].append(clip.row);
  }

  function read() {
    for (const clip of full) {
      const at = rowAt(clip, state.at);
      const values = drawn.map(({ name }) => (state.at === null ? number(clip.pooled[name]) : score(clip, name, at)));
      [...values.map(shown), kind(clip, at), size(clip, at)].forEach((text, n) => { clip.cells[n].textContent = text; });
      clip.row.className = clip.on ? "" : "off";
    }
    const clip = lead(), at = rowAt(clip, state.at);
    $("where").textContent = at < 0 ? "Whole clips" : `Frame ${clip.n[at]}${clip.t ? `, ${clip.t[at].toFixed(3)} s` : ""}`;
    const [low, high] = state.view.map((x) => Math.min(ends()[1], Math.max(ends()[0], x)).toFixed(state.axis === "n" ? 0 : 2));
    $("view").textContent = `in view: ${state.axis === "n" ? "frames" : "seconds"} ${low} to ${high}`;
    $("scrub").max = clip.count - 1;
    if (at >= 0) $("scrub").value = at;
    $("scrub").setAttribute("aria-valuetext", $("where").textContent);
    clearTimeout(saying);
    saying = setTimeout(say, 400);
  }

  /** The read-out in words for screen readers, once it rests. */
  let saying = 0;
  function say() {
    const words = chosen().map((clip) =>
      `${clip.label}: ${scores().map(({ name }) => `${name} ${shown(score(clip, name, rowAt(clip, state.at)))}`).join(", ")}`);
    $("said").textContent = state.at === null ? "" : `${$("where").textContent}. ${words.join("; ")}`;
  }

  // --- panels: one a score, and one a clip for the bytes of its frames ---

  let panels = [];
  function panel(heading, text, more, of) {
    const canvas = make("canvas", "", { role: "img", "aria-label": `${text}; the slider and the table below give the numbers` });
    $("panels").append(make("div", "", { class: `panel${more}` }, heading, canvas));
    panels.push({ canvas, ...of });
  }

  function build() {
    $("panels").textContent = "";
    panels = [];
    for (const metric of scores()) {
      const facts = make("small", [metric.unit, `${metric.better} is better`].filter(Boolean).join(", "));
      const values = make("span", "", { class: "values" });
      panel(make("h3", metric.name, {}, facts, values), `Curves of ${metric.name} by frame`, "", { metric, values });
    }
    for (const clip of chosen().filter(({ bytes }) => bytes)) {
      const rate = make("small");
      const kinds = ["I", "P", "B"].filter((letter) => clip.types.includes(letter)).map((letter) =>
        make("small", "", { class: "kind" }, make("i", "", { class: letter.toLowerCase() }), letter));
      const heading = make("h3", "", {}, make("span", "", { class: `swatch ${clip.colour}` }), make("bdi", clip.label), rate, ...kinds);
      panel(heading, `Bytes of every frame of ${clip.label}`, " bars", { clip, rate });
    }
    for (const mark of document.querySelectorAll("svg [data-clip]")) {
      mark.classList.toggle("off", clips[Number(mark.dataset.clip)].on === false);
    }
    for (const part of document.querySelectorAll("[data-score]")) {
      part.hidden = drawn.some(({ name, on }) => name === part.dataset.score && !on);
    }
    update();
  }

  /** The scale of a score: what is in view with some air, or all its range. */
  function rangeOf(metric) {
    let low = Infinity, high = -Infinity;
    for (const clip of chosen()) {
      const [from, to] = inView(clip);
      for (let i = from; i < to; i++) {
        const value = score(clip, metric.name, i);
        if (Number.isFinite(value)) { low = Math.min(low, value); high = Math.max(high, value); }
      }
    }
    if (low > high) return [0, 1, () => ""];
    if ($("full").checked) return [Math.min(low, metric.low ?? low), Math.max(high, metric.high ?? high)];
    const air = (high - low || Math.abs(high) / 10 || 1) * 0.06;
    return [low - air, high + air];
  }

  /** Bits a second of the frames in view. */
  function rateText(clip) {
    const [from, to] = inView(clip);
    if (!clip.t || clip.count < 2 || to <= from) return "bytes a frame";
    const bytes = clip.bytes.slice(from, to).reduce((sum, one) => sum + (one || 0), 0);
    const bits = 8 * bytes / (to - from) * (clip.count - 1) / (clip.t[clip.count - 1] - clip.t[0]);
    return `bytes a frame; ${bits < 999500 ? `${Math.round(bits / 1000)} kbit/s` : `${(bits / 1e6).toFixed(2)} Mbit/s`} in view`;
  }

  function paint() {
    const style = getComputedStyle(root), ink = (name) => style.getPropertyValue(`--${name}`).trim();
    const inks = { least: state.axis === "n" ? 1 : 0, I: ink("type-i"), P: ink("type-p"), B: ink("type-b") };
    for (const name of ["card", "soft", "line", "grid", "accent"]) inks[name] = ink(name);
    for (const { metric, values, clip, rate, canvas } of panels) {
      if (clip) {
        drawBars(canvas, xs(clip), clip.bytes, clip.types, state.view, inks, state);
        rate.textContent = rateText(clip);
        continue;
      }
      const curves = chosen().filter((one) => one.scores[metric.name]).map((one) =>
        ({ xs: xs(one), ys: one.scores[metric.name], colour: ink(one.colour), hot: one.index === state.hot, at: rowAt(one, state.at), own: one.colour }));
      drawCurves(canvas, curves, state.view, rangeOf(metric), inks, state);
      values.replaceChildren(...curves.filter(({ at }) => at >= 0).map(({ ys, at, own }) => make("span", shown(ys[at]), { class: own })));
    }
  }

  // --- frames in view as a table ---

  const MOST = 200;
  function fillNumbers() {
    const clip = lead(), [from, to] = inView(clip), step = Math.ceil((to - from) / MOST) || 1, body = make("tbody");
    const titles = chosen().flatMap(({ label }) => [...scores().map(({ name }) => name), "type", "bytes"].map((what) => `${label}: ${what}`));
    for (let i = from; i < to; i += step) {
      const cells = [clip.t ? clip.t[i].toFixed(3) : ""];
      for (const one of chosen()) {
        const at = rowAt(one, xs(clip)[i]);
        cells.push(...scores().map(({ name }) => shown(score(one, name, at))), kind(one, at), size(one, at));
      }
      body.append(row(make("th", String(clip.n[i]), { scope: "row" }), cells.map(cell)));
    }
    const caption = make("caption", step > 1 ? `One frame in ${step} of those in view; zoom in for all` : "Every frame in view");
    const head = make("thead", "", {}, row(title("frame"), ["seconds", ...titles].map(title)));
    $("numbers").querySelector(".wide").replaceChildren(make("table", "", {}, caption, head, body));
    reachable();
  }

  // --- pointing, dragging, turning the wheel ---

  function xOf(event) {
    const place = panels[0].canvas.getBoundingClientRect();
    const part = (event.clientX - place.left - PAD.left) / (place.width - PAD.left - PAD.right);
    return state.view[0] + Math.min(1, Math.max(0, part)) * (state.view[1] - state.view[0]);
  }
  function over(type, act, options) {
    $("panels").addEventListener(type, (event) => { if (event.target.tagName === "CANVAS") act(event); }, options);
  }
  let held = null;
  over("pointerdown", (event) => {
    if (event.button) return;
    if (event.pointerType === "mouse") {
      held = { x: xOf(event), left: event.clientX };
      event.target.setPointerCapture(event.pointerId);
    }
    point(xOf(event), false);
    $("scrub").focus({ preventScroll: true });
    event.preventDefault();
  });
  over("pointermove", (event) => {
    const far = held && Math.abs(event.clientX - held.left) > 4;
    state.drag = far ? [held.x, xOf(event)].sort((a, b) => a - b) : null;
    point(xOf(event), false);
  });
  function release() {
    const drag = state.drag;
    held = state.drag = null;
    if (drag) show(...drag); else redraw();
  }
  over("pointerup", release);
  over("pointercancel", release);
  over("dblclick", actions.all);
  over("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.25 : 0.8, xOf(event));
  }, { passive: false });

  // --- drawing where there is something new ---

  let due = 0;
  redraw = () => {
    due ||= requestAnimationFrame(() => { due = 0; paint(); });
  };
  function update() {
    read();
    if ($("numbers").open) fillNumbers();
    redraw();
  }
  new ResizeObserver(() => redraw()).observe($("panels"));
  let before = "";
  window.addEventListener("beforeprint", () => {
    before = root.dataset.theme || "";
    for (const part of document.querySelectorAll("#method details")) part.open = true;
    setTheme("light");
    paint();
  });
  window.addEventListener("afterprint", () => setTheme(before));

  state.view = whole();
  build();
})();
