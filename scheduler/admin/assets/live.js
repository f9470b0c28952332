// Keeps a page up to date. Events say what changed; what it is now comes as the
// server's own markup: single tiles from /tiles, anything else by reading this
// page again and taking over its live parts. At most one request a second.
"use strict";
(() => {
  const say = document.getElementById("live");
  const gallery = document.getElementById("gallery");
  const parts = ["summary", "hints", "pending", "gallery", "more", "headline", "says", "job", "accept", "captures", "picture", "agents", "empty"];
  const here = document.body.querySelector("main");
  const mine = (location.pathname.match(/^\/cameras\/(cam-[0-9a-z]+)$/) || [])[1];
  const changed = new Set();
  const skew = Date.now() - Date.parse(document.body.dataset.now); // of this clock against the server's
  let whole = false, timer = 0, busy = false, wait = 1000, last = 0;

  function note(text, lost) {
    say.hidden = false;
    if (say.textContent !== text) say.textContent = text;
    say.classList.toggle("lost", lost);
  }

  function soon() {
    if (timer || busy) return;
    const gap = document.hidden ? 5000 : wait;
    timer = setTimeout(run, Math.max(30, last + gap - Date.now()));
  }

  async function run() {
    timer = 0;
    last = Date.now();
    busy = true;
    try {
      if (whole || !gallery) await reread(); else await tiles();
      wait = 1000;
    } catch {
      wait = Math.min(wait * 2, 30000); // the server is away: the event stream says so
      whole = true;
    }
    busy = false;
    if (whole || changed.size) soon();
  }

  async function get(url) {
    const r = await fetch(url, { redirect: "error", headers: { Accept: "text/html" } });
    if (!r.ok) throw new Error(r.status);
    return new DOMParser().parseFromString(await r.text(), "text/html");
  }

  async function tiles() {
    const ids = [...changed].slice(0, 100);
    ids.forEach((id) => changed.delete(id));
    const query = new URLSearchParams(location.search);
    query.set("ids", ids.join(","));
    const doc = await get("/tiles?" + query);
    await Promise.all([...doc.querySelectorAll(".tile")].map((t) => swap(document.getElementById(t.id), t)));
    swap(document.getElementById("summary"), doc.getElementById("summary"));
  }

  async function reread() {
    whole = false;
    changed.clear();
    const doc = await get(location.href);
    if (!doc.getElementById(here.id)) return;
    // A page that changes its kind, from empty to a fleet, is loaded anew.
    if (!!doc.getElementById("gallery") !== !!gallery && !mine) return location.reload();
    for (const id of parts) {
      const old = document.getElementById(id), now = doc.getElementById(id);
      if (!old || !now || touched(old)) continue;
      if (id === "gallery") await merge(old, now); else await swap(old, now);
    }
  }

  // touched protects a form that somebody is filling in.
  function touched(el) {
    return el.querySelector("input:checked") || (el.contains(document.activeElement) && document.activeElement.closest("form"));
  }

  async function merge(old, now) {
    const want = [...now.children];
    const keep = new Set(want.map((t) => t.id));
    [...old.children].forEach((t) => keep.has(t.id) || t.remove());
    for (const [i, t] of want.entries()) {
      const have = t.id && document.getElementById(t.id);
      if (!have) old.insertBefore(document.adoptNode(t), old.children[i] || null);
      else await swap(have, t);
    }
  }

  // swap waits for the new picture, so that no tile ever flashes empty.
  async function swap(old, now) {
    if (!old || !now || old.outerHTML === now.outerHTML) return;
    const img = now.querySelector("img"), had = old.querySelector("img");
    if (img && (!had || had.src !== new URL(img.getAttribute("src"), location.href).href)) {
      const pre = new Image();
      pre.src = img.getAttribute("src");
      await pre.decode().catch(() => {});
      img.loading = "eager";
    }
    const focus = old.contains(document.activeElement);
    old.replaceWith(document.adoptNode(now));
    if (focus && now.matches("a")) now.focus({ preventScroll: true });
  }

  function heard(e) {
    const m = JSON.parse(e.data);
    if (mine) {
      if (m.camera === mine || m.kind === "resync") { whole = true; soon(); }
      return;
    }
    if (!gallery) {
      if (document.getElementById("agents") ? m.kind === "agent" || m.kind === "resync" : m.kind === "camera" || m.kind === "agent") { whole = true; soon(); }
      return;
    }
    switch (m.kind) {
      case "capture": case "thumbnail":
        if (document.getElementById(m.camera)) changed.add(m.camera); else changed.add(""); // "" asks for the counts alone
        break;
      case "books":
        changed.add("");
        break;
      default:
        whole = true;
    }
    soon();
  }

  let opened = false;
  const source = new EventSource("/api/v1/events?coalesce=500");
  ["camera", "capture", "thumbnail", "agent", "schedule", "books", "resync"].forEach((k) => source.addEventListener(k, heard));
  source.onopen = () => {
    note("live", false);
    if (opened) { whole = true; soon(); } // events were lost meanwhile
    opened = true;
  };
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) note("signed out or stopped: load this page again", true);
    else note("connection lost, trying again", true);
  };

  // Ages grow by themselves between events.
  function ago(ms) {
    const s = Math.max(0, Math.round(ms / 1000));
    if (s < 60) return s + " s ago";
    if (s < 3600) return Math.floor(s / 60) + " min ago";
    if (s < 86400) return Math.floor(s / 3600) + " h ago";
    return Math.floor(s / 86400) + " d ago";
  }
  const ages = () => document.querySelectorAll("time[data-age]").forEach((t) => {
    const text = ago(Date.now() - skew - Date.parse(t.dateTime));
    if (t.textContent !== text) t.textContent = text;
  });
  setInterval(ages, 1000);
})();
