// The page without a server: a scan is chosen, segmented by `worker.js`, shown, corrected and given back.
import {overUpright, slicesOf} from "./grid.js";
import {asCsv, cutsOf, measure} from "./measure.js";
import {gzip, writeNifti} from "./nifti.js";

const at = id => document.getElementById(id);
const MOST_MB = Number(at("upload").dataset.most), MARGIN_MM = 8, USUAL_WINDOW = 0.99, SAMPLES = 1e6, GREATEST = 65535;
const networks = await (await fetch("networks.json")).json();
let file = null, worker = null;
at("unserved").hidden = true;

function tell(text) {
  at("problem").textContent = text;
  at("problem").hidden = !text;
}
function choose(files) {
  file = files.length === 1 ? files[0] : null;
  at("name").textContent = file ? file.name : "";
  if (files.length > 1) tell("Choose one image; the program takes several, and DICOM.");
  else if (file && file.size > MOST_MB * 1024 ** 2) tell(`This is more than ${MOST_MB} MiB, and a browser holds no more. Crop it, or use the program.`);
  else tell("");
  at("send").disabled = !file || !at("problem").hidden;
}
function regions() {
  const {spec} = networks[at("shows").value];
  at("region").replaceChildren(new Option("choose", ""), ...spec.regions.map(one => new Option(one, one)));
}
at("shows").replaceChildren(...networks.map(({shows}, number) => new Option(shows, number)));
at("shows").addEventListener("change", regions);
regions();
at("file").addEventListener("change", event => choose(event.target.files));
addEventListener("dragover", event => { event.preventDefault(); at("drop").classList.add("over"); });
addEventListener("dragleave", event => { if (!event.relatedTarget) at("drop").classList.remove("over"); });
addEventListener("drop", event => {
  event.preventDefault();
  at("drop").classList.remove("over");
  choose(event.dataTransfer.files);
});
function stop(text) {
  worker.terminate();
  at("working").hidden = true;
  at("send").disabled = false;
  tell(text);
}
at("stop").addEventListener("click", () => stop(""));
at("upload").addEventListener("submit", event => {
  event.preventDefault();
  if (!at("region").value) { tell("Choose the region: this page does not find it by itself."); at("region").focus(); return; }
  const {spec} = networks[at("shows").value];
  tell("");
  at("send").disabled = true;
  at("working").hidden = false;
  worker = new Worker(new URL("worker.js", import.meta.url), {type: "module"});
  worker.addEventListener("error", error => stop(`The page could not be loaded whole (${error.message || "a file is missing"}).`));
  worker.addEventListener("message", ({data: told}) => {
    if (told.problem) { stop(`${file.name}: ${told.problem}`); return; }
    if (told.image) { worker.terminate(); show(told, spec); return; }
    at("said").textContent = told.of ? `slice ${told.done + 1} of ${told.of}` : told.step;
    if (told.of) { at("bar").max = told.of; at("bar").value = told.done; }
  });
  worker.postMessage({file, spec});
});

// What `viewer.js` asks for, as the server would answer; and what is painted, which is measured anew.
function show({image, classes, bodies}, spec) {
  image.header = new DataView(image.header);
  const slices = slicesOf(image), shape = [slices.rows, slices.columns].map(one => image.shape[one.axis]);
  const cuts = at("limbs").value === "both" ? cutsOf(image, slices, bodies) : null, shown = windowOf(image, bodies);
  let rows = [];
  const told = {
    slices: slices.count, rows: shape[0], columns: shape[1], zooms: [slices.rows, slices.columns].map(one => image.zooms[one.axis]),
    step: slices.step, body: around(image, slices, bodies, shape), images: [shown], labels: spec.labels,
  };
  const slice = (number, made, value) => {
    overUpright(image, slices, number, (to, from) => { made[to] = value(from); });
    return made.buffer;
  };
  globalThis.twin = {
    get(path) {
      if (path === "view") return told;
      const [, name, number] = path.split("/"), size = shape[0] * shape[1];
      if (name === "mask") return slice(Number(number), new Uint8Array(size), from => classes[from]);
      return slice(Number(number), new Uint16Array(size), from => Math.round((image.data[from] - shown.low) * GREATEST / (shown.high - shown.low)));
    },
    take(drawing) {
      for (const number of drawing.changed()) {
        const labels = drawing.slices.get(number);
        overUpright(image, slices, number, (from, to) => { classes[to] = labels[from]; });
        drawing.load(number, labels);
      }
      table();
    },
  };
  const table = () => {
    rows = measure(image, slices, classes, spec.labels, cuts);
    fill("totals", rows.filter(row => row.slice === "all"), ["limb", "label", "volume_ml", "largest_area_cm2", "largest_area_slice"]);
    fill("by-slice", rows.filter(row => row.slice !== "all" && row.voxels), ["slice", "limb", "label", "area_cm2"]);
  };
  table();
  at("automatic").onclick = () => give(automatic, "automatic-mask.nii.gz");
  at("download").onclick = () => {
    at("save").click();   // what is painted and not measured yet
    give(values(), "mask.nii.gz");
  };
  at("csv").onclick = () => save(new Blob([asCsv(rows)], {type: "text/csv"}), "measurements.csv");
  const values = () => Uint16Array.from(classes, index => index ? spec.labels[index - 1].value : 0), automatic = values();
  const give = async (mask, name) => save(await gzip(writeNifti(image, mask)), name);
  const region = at("region").value;
  at("title").textContent = `${region[0].toUpperCase()}${region.slice(1)}`;
  at("values").textContent = spec.labels.map(label => `${label.value} ${label.name}`).join(", ");
  at("start").hidden = true;
  at("job").hidden = false;
  for (const name of ["viewer.js", ...(at("as-volume") ? ["volume.js"] : [])]) {
    const script = document.createElement("script");
    script.src = name;
    script.async = false;  // in this order
    document.head.append(script);
  }
}
function fill(id, rows, names) {
  const shown = (name, value) => value === undefined ? "–" : name.endsWith("_ml") || name.endsWith("_cm2") ? value.toFixed(1) : value;
  at(id).replaceChildren(...rows.map(row => {
    const line = document.createElement("tr");
    line.append(...names.map((name, column) => {
      const cell = document.createElement(column ? "td" : "th");
      if (!column) cell.scope = "row";
      cell.textContent = shown(name, row[name]);
      return cell;
    }));
    return line;
  }));
}
function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
// The part of the slices that holds the body in any of them, and a margin.
function around(image, slices, bodies, shape) {
  const ends = [[Infinity, -1], [Infinity, -1]], zooms = [slices.rows, slices.columns].map(one => image.zooms[one.axis]);
  for (let number = 0; number < slices.count; number++) {
    overUpright(image, slices, number, (_, from, row, column) => {
      if (!bodies[from]) return;
      ends[0] = [Math.min(ends[0][0], row), Math.max(ends[0][1], row)];
      ends[1] = [Math.min(ends[1][0], column), Math.max(ends[1][1], column)];
    });
  }
  return ends.map(([first, last], axis) => {
    const margin = Math.round(MARGIN_MM / zooms[axis]);
    return last < 0 ? [0, shape[axis]] : [Math.max(first - margin, 0), Math.min(last + margin + 1, shape[axis])];
  });
}
function windowOf({data}, bodies) {
  const inside = [], every = Math.max(1, Math.floor(data.length / SAMPLES));
  let low = 0, high = -Infinity;
  data.forEach((value, from) => {
    low = Math.min(low, value);
    high = Math.max(high, value);
    if (bodies[from] && from % every === 0) inside.push(value);
  });
  inside.sort((one, other) => one - other);
  const white = inside.length ? inside[Math.floor(USUAL_WINDOW * (inside.length - 1))] : high;
  return {name: "image", low, high, black: Math.max(low, 0), white: Math.max(white, low + 1e-6)};
}
