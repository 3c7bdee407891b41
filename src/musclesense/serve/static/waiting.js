// A scan that waits or is segmented: its state is asked for now and then, until it has one that has a page of its own.
"use strict";
const job = document.getElementById("job"), EVERY_MS = 1000;
const order = [...document.querySelectorAll("#steps li")].map(one => one.dataset.step);

function show(status) {
  const said = document.getElementById("said"), bar = document.getElementById("progress");
  if (status.state === "queued") {
    said.textContent = status.ahead ? `${status.ahead} before it.` : "It is next.";
  } else {
    document.getElementById("title").lastChild.textContent = "At work";
    said.textContent = (status.step || "It begins.") + (status.of ? `: ${status.done} of ${status.of} slices` : "");
  }
  if (status.of) bar.value = status.done / status.of; else bar.removeAttribute("value");
  const now = status.state === "queued" ? 0 : Math.max(1, order.indexOf(status.step));  // it begins with reading
  document.querySelectorAll("#steps li").forEach((one, number) => {
    one.classList.toggle("now", number === now);
    one.classList.toggle("past", number < now);
  });
}
async function ask() {
  try {
    const answer = await fetch(`/api/jobs/${job.dataset.id}`, {cache: "no-store"});
    if (!answer.ok) { location.reload(); return; }
    const status = await answer.json();
    if (!["queued", "running"].includes(status.state)) { location.reload(); return; }
    show(status);
  } catch {
    document.getElementById("said").textContent = "The server does not answer; it is asked again.";
  }
  setTimeout(ask, EVERY_MS);
}
if (job.dataset.state !== "failed") {
  ask();
} else {
  // The server knows images by numbers; this tab still knows their names.
  let scans = [];
  try { scans = JSON.parse(sessionStorage.getItem("scans")) || []; } catch { /* none */ }
  const own = scans.find(one => one.id === job.dataset.id);
  if (own && own.images.length) {
    const names = document.getElementById("names");
    names.textContent = own.images.map((name, number) => `image-${String(number + 1).padStart(3, "0")} is ${name}`).join("; ");
    names.hidden = false;
  }
}
