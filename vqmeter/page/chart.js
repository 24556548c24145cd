"use strict";
// Numbers onto canvases: scales, what to draw of many points, curves and bars. Nothing here knows of the page's controls.

const PAD = { left: 58, right: 10, top: 8, bottom: 20 };

/** A number as the tables print it. */
function shown(value) {
  if (value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "identical" : "-inf";
  return value.toFixed(Math.abs(value) <= 1 ? 6 : 4);
}

/** The first place in the rising row `xs` whose number is not less than x. */
function bound(xs, x) {
  let low = 0, high = xs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle + 1; else high = middle;
  }
  return low;
}

/** The place in `xs` nearest to x. */
function nearest(xs, x) {
  const after = Math.min(bound(xs, x), xs.length - 1);
  return after > 0 && x - xs[after - 1] < xs[after] - x ? after - 1 : after;
}

/** Round numbers from low to high, about `count` of them and at least `least` apart, and the decimals they need. */
function ticks(low, high, count, least = 0) {
  const raw = Math.max(least, (high - low) / Math.max(1, count)), power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= raw * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9 && found.length < 50; k++) found.push(k * step);
  return { found, decimals: Math.min(8, Math.max(0, -Math.floor(Math.log10(step) + 1e-9))) };
}

/** Places of ys[from..to) worth drawing: all, or where several share a pixel its first, least, greatest and last. */
function thin(xs, ys, from, to, toX, width) {
  const out = [];
  const few = to - from <= 2 * width;
  let column = NaN, group = null;
  const flush = () => {
    if (group) for (const place of [...new Set(group)].sort((a, b) => a - b)) out.push(place);
  };
  for (let i = from; i < to; i++) {
    if (Number.isNaN(ys[i])) continue;
    if (few) { out.push(i); continue; }
    const here = Math.round(toX(xs[i]));
    if (here !== column) { flush(); column = here; group = [i, i, i, i]; }
    if (ys[i] < ys[group[1]]) group[1] = i;
    if (ys[i] > ys[group[2]]) group[2] = i;
    group[3] = i;
  }
  flush();
  return out;
}

/** A canvas cleared and as fine as the screen: its context and its size in CSS pixels. */
function sheet(canvas) {
  const fine = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  const across = Math.max(1, Math.round(width * fine)), down = Math.max(1, Math.round(height * fine));
  if (canvas.width !== across || canvas.height !== down) { canvas.width = across; canvas.height = down; }
  const pen = canvas.getContext("2d");
  pen.setTransform(fine, 0, 0, fine, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = "11px system-ui, sans-serif";
  const box = { left: PAD.left, right: width - PAD.right, top: PAD.top, bottom: height - PAD.bottom };
  return { pen, box };
}

/** Grid, labels and the two scales of a panel. */
function axes(pen, box, view, range, ink) {
  const toX = (x) => box.left + (x - view[0]) / (view[1] - view[0] || 1) * (box.right - box.left);
  const toY = (y) => {
    if (!Number.isFinite(y)) return y > 0 ? box.top : box.bottom;
    return box.bottom - (y - range[0]) / (range[1] - range[0] || 1) * (box.bottom - box.top);
  };
  pen.lineWidth = 1;
  pen.strokeStyle = ink.grid;
  const up = ticks(range[0], range[1], Math.max(3, (box.bottom - box.top) / 38));
  for (const y of up.found) {
    line(pen, [[box.left, Math.round(toY(y)) + 0.5], [box.right, Math.round(toY(y)) + 0.5]]);
    label(pen, range[2] ? range[2](y) : y.toFixed(up.decimals), box.left - 6, toY(y), ink);
  }
  pen.textAlign = "center";
  pen.textBaseline = "top";
  const along = ticks(view[0], view[1], (box.right - box.left) / 90, ink.least);
  for (const x of along.found) pen.fillText(x.toFixed(along.decimals), toX(x), box.bottom + 6);
  pen.strokeStyle = ink.line;
  line(pen, [[box.left, box.bottom + 0.5], [box.right, box.bottom + 0.5]]);
  return { toX, toY };
}

/** Text that ends at x. */
function label(pen, text, x, y, ink) {
  pen.fillStyle = ink.soft;
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  pen.fillText(text, x, y);
}

function line(pen, points) {
  pen.beginPath();
  points.forEach(([x, y], n) => (n ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  pen.stroke();
}

/** Everything outside the plot is hidden while `draw` runs. */
function within(pen, box, draw) {
  pen.save();
  pen.beginPath();
  pen.rect(box.left - 3, box.top - 5, box.right - box.left + 6, box.bottom - box.top + 7);
  pen.clip();
  draw();
  pen.restore();
}

/** One score of several clips: [{xs, ys, colour, hot, at}], `at` the place pointed at or -1. */
function drawCurves(canvas, curves, view, range, ink, mark) {
  const { pen, box } = sheet(canvas);
  const { toX, toY } = axes(pen, box, view, range, ink);
  let endless = false;
  within(pen, box, () => {
    for (const curve of curves) {
      pen.strokeStyle = pen.fillStyle = curve.colour;
      pen.lineWidth = curve.hot ? 3 : 1.6;
      pen.lineJoin = "round";
      const from = Math.max(0, bound(curve.xs, view[0]) - 1), to = Math.min(curve.xs.length, bound(curve.xs, view[1]) + 2);
      const places = thin(curve.xs, curve.ys, from, to, toX, box.right - box.left);
      endless ||= places.some((i) => curve.ys[i] === Infinity);
      line(pen, places.map((i) => [toX(curve.xs[i]), toY(curve.ys[i])]));
      const spread = (box.right - box.left) / Math.max(1, places.length);
      if (spread > 12) for (const i of places) dot(pen, toX(curve.xs[i]), toY(curve.ys[i]), 2.2);
    }
    drawMark(pen, box, toX, mark, ink);
    for (const curve of curves) {
      const y = curve.at < 0 ? NaN : curve.ys[curve.at];
      if (!Number.isNaN(y)) {
        pen.fillStyle = ink.card;
        dot(pen, toX(curve.xs[curve.at]), toY(y), 5.5);
        pen.fillStyle = curve.colour;
        dot(pen, toX(curve.xs[curve.at]), toY(y), 4);
      }
    }
  });
  if (endless) label(pen, "identical", box.left - 6, box.top, ink);
}

function dot(pen, x, y, radius) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 7);
  pen.fill();
}

/** The frame pointed at as a line, and what is being marked by dragging as a field. */
function drawMark(pen, box, toX, mark, ink) {
  if (mark.drag) {
    pen.fillStyle = ink.accent;
    pen.globalAlpha = 0.15;
    pen.fillRect(toX(mark.drag[0]), box.top, toX(mark.drag[1]) - toX(mark.drag[0]), box.bottom - box.top);
    pen.globalAlpha = 1;
  }
  if (mark.at !== null) {
    pen.strokeStyle = ink.soft;
    pen.lineWidth = 1;
    line(pen, [[toX(mark.at), box.top - 4], [toX(mark.at), box.bottom]]);
  }
}

/** The bytes of every frame as bars in the colour of its type; of frames that share a pixel, the largest. */
function drawBars(canvas, xs, sizes, types, view, ink, mark) {
  const { pen, box } = sheet(canvas);
  const from = Math.max(0, bound(xs, view[0]) - 1), to = Math.min(xs.length, bound(xs, view[1]) + 1);
  let top = 1;
  for (let i = from; i < to; i++) top = Math.max(top, sizes[i] || 0);
  const size = (y) => (top >= 1e6 ? `${+(y / 1e6).toFixed(2)} MB` : top >= 1e3 ? `${+(y / 1e3).toFixed(2)} kB` : `${y} B`);
  const { toX, toY } = axes(pen, box, view, [0, top * 1.05, size], ink);
  const every = xs.length > 1 ? (toX(xs[xs.length - 1]) - toX(xs[0])) / (xs.length - 1) : 12;
  const wide = Math.max(1, Math.min(12, every * 0.75));
  within(pen, box, () => {
    drawMark(pen, box, toX, mark, ink);
    const numbers = Float64Array.from(sizes, (size) => (size === null ? NaN : size));
    for (const i of thin(xs, numbers, from, to, toX, box.right - box.left)) {
      pen.fillStyle = ink[types[i]] || ink.soft;
      pen.fillRect(toX(xs[i]) - wide / 2, toY(numbers[i]), wide, box.bottom - toY(numbers[i]));
    }
  });
}
