// The first page: files and folders that are dropped or chosen, what each is, and how far the upload is.
"use strict";
const form = document.getElementById("upload"), drop = document.getElementById("drop");
const problem = document.getElementById("problem"), sending = document.getElementById("sending");
const most = Number(form.dataset.most) * 1024 ** 2, SHOWN = 12;
let chosen = [];
for (const one of document.querySelectorAll(".needs-script")) one.hidden = false;

const size = bytes => bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
function tell(text) {
  problem.textContent = text;
  problem.hidden = !text;
  if (text) problem.scrollIntoView({block: "nearest"});
}
function choose(files) {
  chosen = files.filter(one => !one.name.split("/").some(part => part.startsWith(".")));
  tell("");
  const total = chosen.reduce((sum, one) => sum + one.file.size, 0), list = document.getElementById("list");
  list.replaceChildren(...chosen.slice(0, SHOWN).map((one, number) => {
    const item = document.createElement("li"), name = document.createElement("span"), bytes = document.createElement("span");
    name.className = "name"; name.textContent = one.name;
    bytes.className = "faint"; bytes.textContent = size(one.file.size);
    item.append(name, bytes);
    if (chosen.length <= SHOWN && /\.(nii|nrrd|hdr|img)(\.gz|\.bz2)?$/i.test(one.name)) item.append(roles(one, number));
    return item;
  }));
  const left = chosen.length - SHOWN;
  document.getElementById("more").textContent = (left > 0 ? `and ${left} more; ` : "") + `${size(total)} in all`;
  document.getElementById("chosen").hidden = !chosen.length;
  if (total > most) tell(`This is more than ${form.dataset.most} MiB. Choose one scan alone.`);
  document.getElementById("send").disabled = !chosen.length || total > most;
}
function roles(one, number) {
  const select = document.createElement("select");
  select.setAttribute("aria-label", `what image ${number + 1} shows`);
  for (const [value, text] of [["files", "by its name"], ["fat", "fat"], ["water", "water"], ["image", "other contrast"]]) {
    select.append(new Option(text, value));
  }
  select.addEventListener("change", () => { one.role = select.value; });
  return select;
}
const plain = files => [...files].map(file => ({file, name: file.webkitRelativePath || file.name, role: "files"}));
for (const id of ["files", "folder"]) {
  document.getElementById(id).addEventListener("change", event => choose(plain(event.target.files)));
}

// A folder that is dropped is read entry by entry; Chromium gives a hundred at a time.
async function within(entry, path) {
  if (entry.isFile) {
    const file = await new Promise((done, failed) => entry.file(done, failed));
    return [{file, name: path + file.name, role: "files"}];
  }
  const reader = entry.createReader(), found = [];
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) break;
    for (const one of some) found.push(...await within(one, `${path}${entry.name}/`));
  }
  return found;
}
addEventListener("dragover", event => { event.preventDefault(); drop.classList.add("over"); });
addEventListener("dragleave", event => { if (!event.relatedTarget) drop.classList.remove("over"); });
addEventListener("drop", async event => {
  event.preventDefault();
  drop.classList.remove("over");
  const entries = [...event.dataTransfer.items].map(item => item.webkitGetAsEntry && item.webkitGetAsEntry()).filter(Boolean);
  const found = entries.length ? (await Promise.all(entries.map(entry => within(entry, "")))).flat() : plain(event.dataTransfer.files);
  choose(found);
});

form.addEventListener("submit", event => {
  event.preventDefault();
  if (!chosen.length) { tell("Choose the images of a scan first."); return; }
  const data = new FormData();
  for (const name of ["region", "limbs", "series", "echo_times"]) data.append(name, form.elements[name].value);
  if (form.elements.dicom_seg?.checked) data.append("dicom_seg", "yes");
  for (const one of chosen) data.append(one.role, one.file, one.name);
  const request = new XMLHttpRequest(), bar = document.getElementById("sent"), said = document.getElementById("sent-said");
  const stopped = text => { sending.hidden = true; document.getElementById("send").disabled = false; tell(text); };
  request.upload.addEventListener("progress", now => {
    if (now.lengthComputable) { bar.value = now.loaded / now.total; said.textContent = `${size(now.loaded)} of ${size(now.total)}`; }
  });
  request.addEventListener("load", () => {
    let answer = {};
    try { answer = JSON.parse(request.responseText); } catch { /* a proxy's page */ }
    if (request.status !== 202) { stopped(answer.detail || `The server has refused this (${request.status}).`); return; }
    remember(answer.id);
    location.assign(`/jobs/${answer.id}`);
  });
  request.addEventListener("error", () => stopped("The server could not be reached. Is it running?"));
  request.addEventListener("abort", () => stopped(""));
  document.getElementById("stop").onclick = () => request.abort();
  request.open("POST", "/api/jobs");
  request.send(data);
  sending.hidden = false;
  sending.scrollIntoView({block: "nearest"});
  document.getElementById("send").disabled = true;
  tell("");
});

// Names of files are known to this tab alone: they may be those of patients.
function remember(id) {
  const images = chosen.filter(one => /\.(nii|nrrd|hdr)(\.gz|\.bz2)?$/i.test(one.name)).map(one => one.name);
  const all = recent();
  all.unshift({id, name: chosen[0].name + (chosen.length > 1 ? ` and ${chosen.length - 1} more` : ""), images});
  try { sessionStorage.setItem("scans", JSON.stringify(all.slice(0, 20))); } catch { /* full: they are forgotten */ }
}
function recent() {
  try { return JSON.parse(sessionStorage.getItem("scans")) || []; } catch { return []; }
}
const scans = recent();
if (scans.length) {
  document.getElementById("recent-list").replaceChildren(...scans.map(one => {
    const item = document.createElement("li"), link = document.createElement("a");
    link.href = `/jobs/${one.id}`;
    link.textContent = one.name;
    item.append(link);
    return item;
  }));
  document.getElementById("recent").hidden = false;
}
// Whoever comes back finds what was chosen, as the browser keeps it.
addEventListener("pageshow", () => {
  sending.hidden = true;
  const kept = ["files", "folder"].flatMap(id => plain(document.getElementById(id).files));
  if (kept.length && !chosen.length) choose(kept);
});
