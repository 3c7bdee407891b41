// What is said of a mask: sent at once, and the keys that lead through the list. The server keeps it.
"use strict";
{
  const one = id => document.getElementById(id), who = one("who"), said = one("review-said"), mask = one("job");
  const NAME = "musclesense-reviewer";
  try { who.value = localStorage.getItem(NAME) || ""; } catch { /* not kept */ }
  who.addEventListener("input", () => {
    try { localStorage.setItem(NAME, who.value); } catch { /* not kept */ }
    who.classList.remove("missing");
  });

  const buttons = [...document.querySelectorAll("[data-verdict]:is(button)")], comment = one("comment");
  let pending = Promise.resolve(), kept = comment && comment.value;
  function named() {
    if (who.value.trim()) return true;
    who.classList.add("missing");
    who.focus();
    said.textContent = "Type your name first; it is kept in this browser.";
    return false;
  }
  async function send(words) {
    const body = JSON.stringify({by: who.value, mask_sha256: mask.dataset.mask, ...words});
    try {
      const answer = await fetch(`${mask.dataset.api}/review`, {method: "POST", headers: {"Content-Type": "application/json"}, body, keepalive: true});
      const told = await answer.json();
      if (!answer.ok) { said.textContent = typeof told.detail === "string" ? told.detail : "This was not taken."; return; }
      kept = told.comment;
      for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.verdict !== "" && button.dataset.verdict === told.verdict));
      one("dot").className = `dot ${{pass: "good", fail: "bad"}[told.verdict] || (told.flags.length ? "flag" : "none")}`;
      said.textContent = `Saved: ${told.by}, ${told.at.replace("T", " ").replace("+00:00", " UTC")}`;
    } catch {
      said.textContent = "The server does not answer; this is not saved.";
    }
  }
  const say = words => { if (named()) pending = pending.then(() => send(words)); };
  const judge = verdict => say({verdict});
  const go = href => { if (href) pending.then(() => { location.href = href; }); };

  if (mask) {
    for (const button of buttons) button.addEventListener("click", () => judge(button.dataset.verdict));
    comment.addEventListener("change", () => say({comment: comment.value}));
    comment.addEventListener("keydown", event => { if (event.key === "Enter" || event.key === "Escape") comment.blur(); });
    addEventListener("pagehide", () => { if (comment.value !== kept && who.value.trim()) send({comment: comment.value}); });
    if (typeof asked === "function") asked = () => new URLSearchParams({by: who.value, base: view.base});
    const keys = {
      n: () => go(one("next").href), p: () => go(one("previous").href), u: () => go(mask.dataset.unjudged),
      1: () => judge("pass"), 2: () => judge("fail"), 0: () => judge(""), c: () => comment.focus(),
    };
    addEventListener("keydown", event => {
      const typing = event.target.matches("select, textarea, input:not([type=checkbox], [type=range])");
      if (typing || event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
      event.preventDefault();
      keys[event.key]();
    });
    // The next one is opened meanwhile.
    if (mask.dataset.after) addEventListener("load", () => fetch(`/api/scans/${mask.dataset.after}/view`).catch(() => {}));
  }
}
