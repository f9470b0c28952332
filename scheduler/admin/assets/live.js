// Keeps the page live: the server says which tiles changed, and each is fetched
// again at most once a second. Without this file the page is whole but still.
"use strict";
(() => {
  const last = new Map(); // part -> when it was fetched
  const waiting = new Set();
  const pace = 1000;

  async function fetchPart(key, url, place) {
    if (waiting.has(key)) return;
    waiting.add(key);
    const wait = Math.max(0, (last.get(key) || 0) + pace - Date.now());
    await new Promise((done) => setTimeout(done, wait));
    waiting.delete(key);
    last.set(key, Date.now());
    if (document.hidden) return;
    try {
      const res = await fetch(url, { credentials: "same-origin" });
      if (!res.ok || res.redirected) return;
      place(await res.text());
    } catch {
      // The connection is gone; the event source says when it is back.
    }
  }

  // Replaces an element once its new picture is there, so that nothing flickers.
  function replace(id, html) {
    const old = document.getElementById(id);
    if (!old) return;
    const box = document.createElement("template");
    box.innerHTML = html.trim();
    const fresh = box.content.firstElementChild;
    if (!fresh) return;
    const img = fresh.querySelector("img");
    if (!img || fresh.querySelectorAll("img").length > 1) return old.replaceWith(fresh);
    img.loading = "eager";
    const before = old.querySelector("img");
    if (before && before.getAttribute("src") === img.getAttribute("src")) return old.replaceWith(fresh);
    const next = new Image();
    const swap = () => old.isConnected && old.replaceWith(fresh);
    next.onload = swap;
    next.onerror = swap;
    next.src = img.src;
  }

  function take(msg) {
    if (msg.books) fetchPart("books", "/parts/books", (h) => replace("books", h));
    if (msg.list && document.getElementById("cameras"))
      fetchPart("list", "/parts/gallery" + location.search, (h) => replace("cameras", h));
    for (const id of msg.cameras || [])
      if (document.getElementById(id)) fetchPart(id, "/parts/tile/" + id, (h) => replace(id, h));
  }

  const events = new EventSource("/events");
  events.onmessage = (e) => take(JSON.parse(e.data));
  let lost = false;
  events.onerror = () => { lost = true; };
  events.onopen = () => { if (lost) take({ books: true, list: true }); lost = false; };
  document.addEventListener("visibilitychange", () => { if (!document.hidden) take({ books: true, list: true }); });
})();
