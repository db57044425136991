// Keeps open pages fresh: turns the server's hints into htmx events, and says so when no news comes any more.
(function () {
  "use strict";
  var wanted = "";
  var source = null;
  var lost = document.getElementById("lost");
  var last = Date.now();
  var wait = 1000;
  var SILENCE = 40000;

  function heard() {
    last = Date.now();
    wait = 1000;
    lost.hidden = true;
    document.body.classList.remove("stale");
  }

  function showLoss() {
    if (Date.now() - last < SILENCE) { return; }
    var at = new Date(last).toLocaleTimeString(document.documentElement.lang, { hour: "2-digit", minute: "2-digit" });
    lost.textContent = document.body.dataset.lost + " " + at + ".";
    lost.hidden = false;
    document.body.classList.add("stale");
  }

  function topics() {
    var names = {};
    document.querySelectorAll("[data-topics]").forEach(function (part) {
      part.dataset.topics.split(" ").forEach(function (name) { if (name) { names[name] = true; } });
    });
    return Object.keys(names).sort().join(" ");
  }

  function listen() {
    var mine = new EventSource("/live/events?" + new URLSearchParams({ topics: wanted }));
    source = mine;
    mine.onmessage = function (event) {
      heard();
      if (event.data !== "beat" && window.htmx) { window.htmx.trigger(document.body, event.data); }
    };
    mine.onerror = function () {
      mine.close();
      if (mine !== source) { return; }
      window.setTimeout(function () { if (mine === source) { listen(); } }, wait);
      wait = Math.min(wait * 2, 30000);
    };
  }

  // A part that was refreshed may speak of other things than before: a job that got its machine, say.
  function follow() {
    var now = topics();
    if (now === wanted) { return; }
    wanted = now;
    if (source) { source.close(); source = null; }
    if (wanted) { listen(); }
  }

  document.body.addEventListener("htmx:afterOnLoad", heard);
  if (window.EventSource && topics()) {
    follow();
    document.body.addEventListener("htmx:afterSettle", follow);
    window.addEventListener("pagehide", function () { if (source) { source.close(); source = null; } });
    window.addEventListener("pageshow", function (event) { if (event.persisted) { wanted = ""; follow(); } });
    window.setInterval(showLoss, 5000);
  }

  // What somebody has typed or ticked survives when the part around it is refreshed.
  var kept = [];
  function place(form, field) { return [form.getAttribute("action"), field.name, field.type === "radio" ? field.value : ""]; }
  document.body.addEventListener("htmx:beforeSwap", function (event) {
    kept = [];
    event.detail.target.querySelectorAll("form").forEach(function (form) {
      Array.prototype.forEach.call(form.elements, function (field) {
        if (!field.name || field.type === "hidden" || field.type === "submit") { return; }
        var box = field.type === "checkbox" || field.type === "radio";
        var changed = box ? field.checked !== field.defaultChecked : field.value !== (field.defaultValue || "");
        if (changed || field === document.activeElement) {
          kept.push({ at: place(form, field).join("|"), value: field.value, checked: field.checked, box: box, changed: changed, focus: field === document.activeElement });
        }
      });
    });
  });
  document.body.addEventListener("htmx:afterSwap", function () {
    if (!kept.length) { return; }
    document.querySelectorAll("main form").forEach(function (form) {
      Array.prototype.forEach.call(form.elements, function (field) {
        kept.forEach(function (was) {
          if (place(form, field).join("|") !== was.at) { return; }
          if (was.changed) { if (was.box) { field.checked = was.checked; } else { field.value = was.value; } }
          if (was.focus) { field.focus(); }
        });
      });
    });
    kept = [];
  });

  // A form that was sent is not sent twice by a second click.
  document.addEventListener("submit", function (event) {
    var form = event.target;
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "1";
    window.setTimeout(function () { delete form.dataset.sent; }, 4000);
  });

  // Dropping a file on the drop zone is choosing it.
  var zone = document.querySelector("[data-drop]");
  if (zone) {
    var input = zone.querySelector("input[type=file]");
    var said = zone.querySelector("[data-chosen]");
    var say = function () { if (input.files.length) { said.textContent = input.files[0].name; } };
    input.addEventListener("change", say);
    ["dragover", "dragenter"].forEach(function (name) {
      zone.addEventListener(name, function (event) { event.preventDefault(); zone.classList.add("over"); });
    });
    zone.addEventListener("dragleave", function () { zone.classList.remove("over"); });
    zone.addEventListener("drop", function (event) {
      event.preventDefault();
      zone.classList.remove("over");
      if (event.dataTransfer.files.length) { input.files = event.dataTransfer.files; say(); }
    });
  }
})();
