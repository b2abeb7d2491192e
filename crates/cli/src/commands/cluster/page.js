"use strict";
const { summary, detail, groups, points } = JSON.parse(document.getElementById("data").textContent);
const byId = id => document.getElementById(id);
const canvas = document.querySelector("canvas"), pen = canvas.getContext("2d"), tip = byId("tip");
const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
// Neighbours in the legend are a golden angle apart on the colour wheel, at equal perceived lightness.
const colour = group => `oklch(${style("--l")} ${group % 2 ? 0.13 : 0.19} ${(255 + group * 137.508) % 360})`;
byId("summary").textContent = summary;
byId("detail").textContent = detail;
document.title = summary;

let selected = null, pattern = "", view = { zoom: 1, x: 0, y: 0 };
const [left, right] = range(0), [bottom, top_] = range(1);
function range(axis) {
  let low = Infinity, high = -Infinity;
  for (const point of points) { low = Math.min(low, point[axis]); high = Math.max(high, point[axis]); }
  return high > low ? [low, high] : [low - 1, low + 1];
}
// Both axes have the same scale, so that distances mean the same in all directions.
function toCanvas(point) {
  const { clientWidth: width, clientHeight: height } = canvas, margin = 40;
  const scale = view.zoom * Math.min((width - 2 * margin) / (right - left), (height - 2 * margin) / (top_ - bottom));
  return [width / 2 + view.x + scale * (point[0] - (left + right) / 2),
    height / 2 + view.y - scale * (point[1] - (bottom + top_) / 2)];
}
const matches = point => (selected === null || point[2] === selected) && point[3].toLowerCase().includes(pattern);

function draw() {
  const ratio = devicePixelRatio || 1, { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  pen.scale(ratio, ratio);
  const size = Math.max(1.8, Math.min(5, 90 / Math.sqrt(points.length))) * Math.sqrt(Math.sqrt(view.zoom));
  const sums = groups.map(() => [0, 0, 0]), colours = groups.map((_, group) => colour(group));
  for (const faint of [true, false]) {
    for (const point of points) {
      if (matches(point) === faint) continue;
      const [x, y] = toCanvas(point), sum = sums[point[2]];
      pen.globalAlpha = faint ? 0.08 : 0.75;
      pen.fillStyle = colours[point[2]];
      pen.beginPath();
      pen.arc(x, y, size, 0, 2 * Math.PI);
      pen.fill();
      if (!faint) { sum[0] += x; sum[1] += y; sum[2] += 1; }
    }
  }
  label(sums, colours);
}
// Names are at the centres of their groups; one that would cover another moves down.
function label(sums, colours) {
  const labels = [];
  pen.globalAlpha = 1;
  pen.font = "600 13px system-ui, sans-serif";
  pen.textAlign = "center";
  pen.lineJoin = "round";
  groups.forEach((group, number) => {
    const [x, y, count] = sums[number];
    if (!count || !group.name) return;
    const width = pen.measureText(group.name).width / 2;
    const half = Math.min(width, canvas.clientWidth / 2 - 4);
    const middle = Math.max(half + 4, Math.min(canvas.clientWidth - half - 4, x / count));
    let line = y / count;
    const covers = other => Math.abs(other[0] - middle) < other[2] + width + 6 && Math.abs(other[1] - line) < 17;
    for (let tries = 0; tries < 20 && labels.some(covers); tries++) line += 9;
    labels.push([middle, line, width]);
    pen.strokeStyle = style("--paper");
    pen.lineWidth = 4;
    pen.strokeText(group.name, middle, line);
    pen.fillStyle = colours[number];
    pen.fillText(group.name, middle, line);
  });
}

function legend() {
  byId("legend").replaceChildren(...groups.map((group, number) => {
    const button = document.createElement("button"), dot = document.createElement("i");
    const [name, size, fit] = ["span", "span", "span"].map(tag => document.createElement(tag));
    dot.style.background = colour(number);
    name.textContent = group.name || "(no typical word)";
    size.textContent = group.size;
    fit.textContent = `silhouette ${group.silhouette.toFixed(3)}`;
    fit.className = "soft";
    button.append(dot, name, size, fit);
    button.ariaPressed = selected === null || selected === number;
    button.onclick = () => { selected = selected === number ? null : number; legend(); draw(); };
    return button;
  }));
}

function nearest(x, y) {
  let best = null, limit = 14;
  for (const point of points) {
    const [px, py] = toCanvas(point), distance = Math.hypot(px - x, py - y);
    if (distance < limit && matches(point)) { best = point; limit = distance; }
  }
  return best;
}
function hover(event) {
  const x = event.offsetX, y = event.offsetY, point = nearest(x, y);
  tip.hidden = !point;
  if (!point) return;
  const group = document.createElement("div"), from = document.createElement("div");
  group.textContent = groups[point[2]].name;
  group.style.cssText = `color: ${colour(point[2])}; font-weight: 600`;
  from.textContent = `${point[4]} · silhouette ${point[5].toFixed(3)}`;
  from.className = "soft";
  tip.replaceChildren(group, point[3], from);
  tip.style.borderLeftColor = colour(point[2]);
  tip.style.left = `${Math.max(4, Math.min(x + 14, canvas.clientWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${Math.max(4, Math.min(y + 14, canvas.clientHeight - tip.offsetHeight - 8))}px`;
}
canvas.addEventListener("pointermove", event => {
  if (!event.buttons) return hover(event);
  view.x += event.movementX;
  view.y += event.movementY;
  tip.hidden = true;
  draw();
});
canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
canvas.addEventListener("wheel", event => {
  event.preventDefault();
  const factor = Math.exp(-event.deltaY / 400), zoom = Math.max(0.5, Math.min(200, view.zoom * factor));
  const [x, y] = [event.offsetX - canvas.clientWidth / 2, event.offsetY - canvas.clientHeight / 2];
  view.x = x - (x - view.x) * zoom / view.zoom;
  view.y = y - (y - view.y) * zoom / view.zoom;
  view.zoom = zoom;
  draw();
}, { passive: false });
canvas.addEventListener("dblclick", () => { view = { zoom: 1, x: 0, y: 0 }; draw(); });
document.querySelector("input").oninput = event => { pattern = event.target.value.toLowerCase(); draw(); };
new ResizeObserver(draw).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { legend(); draw(); });
legend();
draw();
