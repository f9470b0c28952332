// Shows an explanation's rungs as they come. Without it the form asks for a page
// with all of them.
"use strict";
(() => {
  const form = document.getElementById("why-form"), box = document.getElementById("why");
  if (!form || !box || !window.ReadableStream) return;
  const rows = box.querySelector("tbody"), say = box.querySelector("p"), table = box.querySelector(".wide");

  function cell(row, text, kind) {
    const c = row.insertCell();
    if (kind) c.className = kind;
    c.textContent = text;
    return c;
  }

  function rung(r) {
    const row = rows.insertRow();
    cell(row, r.name);
    const result = document.createElement("span");
    result.className = "rung is-" + r.result;
    result.textContent = r.result;
    cell(row, "").append(result);
    cell(row, r.took_ms + " ms", "n");
    const detail = cell(row, r.detail);
    if (r.fix) {
      const fix = document.createElement("span");
      fix.className = "why";
      fix.textContent = r.fix;
      detail.append(fix);
    }
  }

  function heard(name, data) {
    const v = JSON.parse(data);
    if (name === "rung") {
      table.hidden = false;
      rung(v);
    } else if (name === "explanation") {
      say.textContent = v.ok ? "Every step on the way to a picture works." : "It breaks at: " + v.failed + ".";
    } else if (name === "problem") {
      say.textContent = v.detail;
    }
  }

  async function ask() {
    const res = await fetch("/api/v1/explain", {
      method: "POST", redirect: "error",
      headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
      body: JSON.stringify({ camera: form.dataset.camera }),
    });
    if (!res.ok) throw new Error((await res.json()).detail);
    const reader = res.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = "", done = false; !done;) {
      const part = await reader.read();
      done = part.done;
      text += part.value || "";
      for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
        const lines = text.slice(0, end).split("\n");
        const of = (key) => (lines.find((l) => l.startsWith(key)) || "").slice(key.length);
        if (of("event: ")) heard(of("event: "), of("data: "));
      }
    }
  }

  form.addEventListener("submit", async (e) => {
    e.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    rows.textContent = "";
    box.hidden = false;
    say.textContent = "Looking…";
    try {
      await ask();
    } catch (err) {
      say.textContent = err.message || "The scheduler does not answer.";
    }
    button.disabled = false;
  });
})();
