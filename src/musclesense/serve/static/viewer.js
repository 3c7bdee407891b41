// Slices of the scan with the mask over them: window, opacity, outline, brush and eraser.
"use strict";
const at = id => document.getElementById(id), api = at("job").dataset.api, canvas = at("canvas"), pen = canvas.getContext("2d");
const EVERY_MS = 700, LARGEST = 1400;
const images = new Map();
let asked = () => `base=${view.base}`;  // what is sent with a painted mask: which one it was painted on
let shown = () => {};  // what follows the slice, where there is more than that
let view, box, drawing, number = 0, tool = null, last = null, hover = null, saving = false, scale = 1;

// A page without a server holds the scan itself: `get` gives what the server would, `take` keeps what is painted.
const twin = globalThis.twin;
async function get(path, kind) {
  if (twin) return twin.get(path);
  const answer = await fetch(`${api}/${path}`);
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail || "The server does not answer.");
  return kind === "json" ? answer.json() : answer.arrayBuffer();
}
async function load(name, index) {
  const key = `${name}/${index}`;
  if (!images.has(key)) images.set(key, get(`view/${name}/${index}`).then(all => new Uint16Array(all)));
  return images.get(key);
}
async function loadMask(index) {
  if (!drawing.slices.has(index)) {
    const labels = new Uint8Array(await get(`view/mask/${index}`));
    if (!drawing.slices.has(index)) drawing.load(index, labels);
  }
  return drawing.slices.get(index);
}

async function show() {
  const wanted = number, name = at("image").value;
  try {
    const [image, labels] = await Promise.all([load(name, wanted), loadMask(wanted)]);
    if (wanted !== number || name !== at("image").value) return;
    draw(image, labels);
    at("viewer-said").textContent = "";
    shown();
  } catch (error) {
    at("viewer-said").textContent = error.message;
  }
  for (const near of [wanted + 1, wanted - 1]) {
    if (near >= 0 && near < view.slices) { load(name, near).catch(() => {}); loadMask(near).catch(() => {}); }
  }
}
// The image at its own resolution, then as large as the page, and the outline above that, so that it is fine.
const small = document.createElement("canvas"), smallPen = small.getContext("2d");
function draw(image, labels) {
  const [[top, bottom], [left, right]] = box, wide = right - left, tall = bottom - top;
  small.width = wide; small.height = tall;
  const pixels = smallPen.createImageData(wide, tall), black = Number(at("black").value), white = Number(at("white").value);
  const step = 255 / Math.max(white - black, 1e-4), opacity = Number(at("opacity").value);
  for (let r = 0, to = 0; r < tall; r++) {
    for (let c = 0; c < wide; c++, to += 4) {
      const from = (r + top) * view.columns + c + left, label = labels[from];
      const grey = Math.min(255, Math.max(0, (image[from] / 65535 - black) * step));
      const colour = label ? view.labels[label - 1].colour : null;
      for (let part = 0; part < 3; part++) pixels.data[to + part] = colour ? grey + opacity * (colour[part] - grey) : grey;
      pixels.data[to + 3] = 255;
    }
  }
  smallPen.putImageData(pixels, 0, 0);
  pen.imageSmoothingEnabled = true;
  pen.drawImage(small, 0, 0, canvas.width, canvas.height);
  if (at("contour").checked) outline(labels);
  if (hover && tool) ring();
  at("where").textContent = view.numbers ? `slice ${view.numbers[number]} (${number + 1} of ${view.slices})` : `slice ${number} of 0–${view.slices - 1}`;
}
function outline(labels) {
  const [[top, bottom], [left, right]] = box, across = canvas.width / (right - left), down = canvas.height / (bottom - top);
  pen.lineWidth = Math.max(1.5, canvas.width / 700);
  const paths = view.labels.map(() => new Path2D());
  const label = (r, c) => r < 0 || c < 0 || r >= view.rows || c >= view.columns ? 0 : labels[r * view.columns + c];
  for (let r = top; r < bottom; r++) {
    for (let c = left; c < right; c++) {
      const own = label(r, c);
      if (!own) continue;
      const path = paths[own - 1], x = (c - left) * across, y = (r - top) * down;
      if (label(r - 1, c) !== own) { path.moveTo(x, y); path.lineTo(x + across, y); }
      if (label(r + 1, c) !== own) { path.moveTo(x, y + down); path.lineTo(x + across, y + down); }
      if (label(r, c - 1) !== own) { path.moveTo(x, y); path.lineTo(x, y + down); }
      if (label(r, c + 1) !== own) { path.moveTo(x + across, y); path.lineTo(x + across, y + down); }
    }
  }
  paths.forEach((path, index) => { pen.strokeStyle = `rgb(${view.labels[index].colour})`; pen.stroke(path); });
}
function ring() {
  const [[top], [left, right]] = box, across = canvas.width / (right - left), down = across * view.zooms[0] / view.zooms[1];
  const radius = Number(at("size").value) / 2 / view.zooms[1];
  pen.beginPath();
  pen.strokeStyle = tool === "eraser" ? "#ffffff" : "#ffe08a";
  pen.setLineDash(tool === "eraser" ? [6, 5] : []);
  pen.arc((hover[1] - left + 0.5) * across, (hover[0] - top + 0.5) * down, radius * across, 0, 2 * Math.PI);
  pen.stroke();
  pen.setLineDash([]);
}

function go(to) {
  number = Math.min(view.slices - 1, Math.max(0, to));
  at("slice").value = number;
  show();
}
function take(name) {
  if (!at(name).checkVisibility()) return;  // these masks are looked at alone
  tool = tool === name ? null : name;
  for (const id of ["brush", "eraser"]) at(id).setAttribute("aria-pressed", String(tool === id));
  canvas.classList.toggle("painting", tool !== null);
  show();
}
function told() {
  at("size-said").textContent = `${at("size").value} mm`;
  const changed = drawing.changed().length;
  at("undo").disabled = saving || !drawing.past.length;
  at("redo").disabled = saving || !drawing.future.length;
  at("save").disabled = saving || !changed;
  if (!saving) at("paint-said").textContent = changed ? `${changed} slice${changed > 1 ? "s" : ""} changed, not measured yet` : "";
}

const place = event => {
  const area = canvas.getBoundingClientRect(), [[top, bottom], [left, right]] = box;
  // The canvas keeps its shape within its box (object-fit: contain).
  const fit = Math.min(area.width / canvas.width, area.height / canvas.height);
  const x = (event.clientX - area.left - (area.width - fit * canvas.width) / 2) / (fit * canvas.width);
  const y = (event.clientY - area.top - (area.height - fit * canvas.height) / 2) / (fit * canvas.height);
  return [top + y * (bottom - top) - 0.5, left + x * (right - left) - 0.5];
};
function paint(from, to) {
  const radius = Number(at("size").value) / 2 / view.zooms[1];
  drawing.line(from, to, Math.max(radius, 0.6), view.zooms[0] / view.zooms[1], Number(at("label").value), tool === "eraser");
}
canvas.addEventListener("pointerdown", async event => {
  if (!tool || saving || event.button) return;
  event.preventDefault();
  canvas.focus();
  canvas.setPointerCapture(event.pointerId);
  await loadMask(number);
  drawing.begin(number);
  last = place(event);
  paint(last, last);
  show();
});
canvas.addEventListener("pointermove", event => {
  hover = place(event);
  if (drawing && drawing.stroke && last) {
    for (const one of event.getCoalescedEvents ? event.getCoalescedEvents() : [event]) {
      const now = place(one);
      paint(last, now);
      last = now;
    }
    hover = place(event);
  }
  if (tool) show();
});
const lift = () => {
  if (!drawing || !drawing.stroke) return;
  drawing.end();
  last = null;
  told();
  show();
};
canvas.addEventListener("pointerup", lift);
canvas.addEventListener("pointercancel", lift);
canvas.addEventListener("pointerleave", () => { hover = null; if (tool && view) show(); });
canvas.addEventListener("wheel", event => {
  if (event.ctrlKey || !view) return;
  event.preventDefault();
  go(number + Math.sign(event.deltaY));
}, {passive: false});

function back(step) {
  const changed = saving || drawing.stroke ? null : drawing[step]();
  if (changed !== null) go(changed);
  told();
}
async function save() {
  if (twin) {
    twin.take(drawing);
    told();
    return;
  }
  saving = true;
  told();
  const done = said => { saving = false; told(); at("paint-said").textContent = said; };
  at("paint-said").textContent = "measuring the corrected mask";
  try {
    const answer = await fetch(`${api}/painted?${asked()}`, {
      method: "POST", headers: {"Content-Type": "application/octet-stream"}, body: drawing.bytes(),
    });
    let status = await answer.json();
    if (!answer.ok) { done(status.detail); return; }
    while (status.state !== "done") {
      if (status.state === "failed") { done(status.problems.join(" ")); return; }
      at("paint-said").textContent = status.state === "queued" ? "waiting to be measured" : status.step || "measuring";
      await new Promise(ready => setTimeout(ready, EVERY_MS));
      status = await (await fetch(api.replace(/[^/]*$/, status.id), {cache: "no-store"})).json();
    }
    leaving = true;
    location.hash = `slice-${number}`;
    location.reload();
  } catch {
    done("The server does not answer. What is painted is still here; try again.");
  }
}
let leaving = false;
addEventListener("beforeunload", event => { if (!leaving && drawing && drawing.changed().length) event.preventDefault(); });

const keys = {
  ArrowLeft: () => go(number - 1), ArrowRight: () => go(number + 1), ArrowUp: () => go(number + 1), ArrowDown: () => go(number - 1),
  Home: () => go(0), End: () => go(view.slices - 1), b: () => take("brush"), e: () => take("eraser"),
  Escape: () => { if (tool) take(tool); }, "[": () => resize(-1), "]": () => resize(1),
  m: () => { at("opacity").value = Number(at("opacity").value) ? 0 : 0.35; at("contour").checked = Number(at("opacity").value) > 0; show(); },
  o: () => { at("contour").checked = !at("contour").checked; show(); },
};
function resize(by) {
  at("size").value = Number(at("size").value) + by;
  told();
  show();
}
addEventListener("keydown", event => {
  if (!view || ["SELECT", "INPUT", "TEXTAREA"].includes(event.target.tagName) && event.target.type !== "checkbox") return;
  if ((event.ctrlKey || event.metaKey) && "zy".includes(event.key.toLowerCase())) {
    event.preventDefault();
    back(event.key.toLowerCase() === "y" || event.shiftKey ? "redo" : "undo");
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
  if (event.key.startsWith("Arrow") && event.target !== canvas && event.target !== document.body) return;
  event.preventDefault();
  keys[event.key]();
});

function window_() {
  const own = view.images.find(one => one.name === at("image").value), span = own.high - own.low || 1;
  at("black").value = (own.black - own.low) / span;
  at("white").value = (own.white - own.low) / span;
}
async function begin() {
  view = await get("view", "json");
  box = view.body;
  drawing = new Drawing(view.rows, view.columns);
  const wide = (box[1][1] - box[1][0]) * view.zooms[1], tall = (box[0][1] - box[0][0]) * view.zooms[0];
  scale = LARGEST / Math.max(wide, tall);
  canvas.width = Math.round(wide * scale);
  canvas.height = Math.round(tall * scale);
  at("image").replaceChildren(...view.images.map(one => new Option(one.name.replace("_", " "), one.name)));
  at("label").replaceChildren(...view.labels.map((one, index) => new Option(one.name, index + 1)));
  at("label-row").hidden = view.labels.length < 2;
  at("legend").replaceChildren(...view.labels.map(one => {
    const item = document.createElement("span"), key = document.createElement("canvas");
    key.width = key.height = 13;
    const own = key.getContext("2d");
    own.fillStyle = `rgb(${one.colour})`;
    own.fillRect(0, 0, 13, 13);
    item.append(key, one.name);
    return item;
  }));
  at("slice").max = view.slices - 1;
  window_();
  told();
  const asked = /^#slice-(\d+)$/.exec(location.hash);
  go(asked ? Number(asked[1]) : Math.floor(view.slices / 2));
}
at("slice").addEventListener("input", () => go(Number(at("slice").value)));
at("before").addEventListener("click", () => go(number - 1));
at("after").addEventListener("click", () => go(number + 1));
at("image").addEventListener("change", () => { window_(); show(); });
for (const id of ["black", "white", "opacity", "contour"]) at(id).addEventListener("input", show);
at("size").addEventListener("input", () => { told(); show(); });
for (const id of ["brush", "eraser"]) at(id).addEventListener("click", () => take(id));
at("undo").addEventListener("click", () => back("undo"));
at("redo").addEventListener("click", () => back("redo"));
at("save").addEventListener("click", save);
begin().catch(error => { at("viewer-said").textContent = error.message; });
