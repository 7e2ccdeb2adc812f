"use strict";
(function () {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const networks = JSON.parse(document.getElementById("networks").textContent);
  const dialog = document.getElementById("network");
  const merge = (one, other) => {
    const merged = { ...one };
    for (const [key, value] of Object.entries(other)) {
      const inner = value && typeof value === "object" && !Array.isArray(value);
      merged[key] = inner ? merge(one[key] || {}, value) : value;
    }
    return merged;
  };
  const layout = () => {
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--ink").trim();
    const line = style.getPropertyValue("--line").trim();
    const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, family: "system-ui, sans-serif", size: 12 },
      margin: { l: 60, r: 20, t: 30, b: 50 }, hovermode: "closest",
      legend: { orientation: "h", y: window.innerWidth < 640 ? -0.45 : -0.2 }, xaxis: axis, yaxis: axis,
      modebar: { bgcolor: "rgba(0,0,0,0)", color: style.getPropertyValue("--soft").trim() },
    };
  };
  const show = (digest) => {
    const entry = networks[digest];
    if (!entry) return;
    dialog.querySelector("h3").textContent = entry.about;
    dialog.querySelector(".drawing").innerHTML = entry.diagram || "";
    dialog.querySelector("details").hidden = !entry.source;
    dialog.querySelector(".source").textContent = entry.source || "";
    dialog.querySelector(".layers").textContent = entry.layers || "";
    dialog.showModal();
  };
  const draw = () => {
    for (const data of document.querySelectorAll("script[data-for]")) {
      const place = document.getElementById(data.dataset.for);
      const figure = JSON.parse(data.textContent);
      const settings = { responsive: true, displaylogo: false };
      Plotly.react(place, figure.traces, merge(layout(), figure.layout), settings);
      if (!place.dataset.listens) {
        place.dataset.listens = "yes";
        place.on("plotly_click", (event) => show(event.points[0].customdata));
      }
    }
  };
  draw();
  dark.addEventListener("change", draw);
  window.addEventListener("beforeprint", draw);
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
})();
