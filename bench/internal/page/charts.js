// Draws the charts that are described in the page's data.
"use strict";

const rowHeight = 40, barHeight = 11, axisHeight = 26;
const dark = matchMedia("(prefers-color-scheme: dark)");
const font = getComputedStyle(document.body).fontFamily;
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

// What all charts are drawn with: the page's colours, and what a floor's bar is filled with.
let colours = {}, hatched;
function takeColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["ours", "peer", "floor", "text", "light", "line", "good"]) colours[name] = style.getPropertyValue("--" + name).trim();
  hatched = hatch();
}

function hatch() {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6;
  const pen = tile.getContext("2d");
  pen.strokeStyle = colours.floor;
  pen.lineWidth = 1.2;
  for (const shift of [-6, 0, 6]) {
    pen.moveTo(shift, 6);
    pen.lineTo(shift + 6, 0);
  }
  pen.stroke();
  return pen.createPattern(tile, "repeat");
}

// shorten is text that is no wider than there is room for.
function shorten(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  while (text.length > 1 && context.measureText(text + "…").width > room) text = text.slice(0, -1);
  return text.trimEnd() + "…";
}

// annotate writes each side and its figure above the bar, and draws from the least to the most of its runs.
const annotate = {
  id: "annotate",
  afterDatasetsDraw(chart, _, { bars }) {
    const { ctx, chartArea: area, scales: { x } } = chart;
    ctx.save();
    ctx.textBaseline = "alphabetic";
    bars.forEach((bar, i) => {
      const y = chart.getDatasetMeta(0).data[i].y;
      const text = bar.figure + { best: "", close: " ~", wrong: " !" }[bar.mark || "best"];
      const base = y - barHeight / 2 - 5;
      ctx.font = `${bar.mark === "best" ? "700 " : ""}13px ${font}`;
      ctx.textAlign = "right";
      ctx.fillStyle = bar.mark === "best" ? colours.good : colours.text;
      ctx.fillText(text, area.right, base);
      const room = area.right - area.left - ctx.measureText(text).width - 12;
      ctx.font = `${{ ours: "600 ", peer: "", floor: "italic " }[bar.kind]}13px ${font}`;
      ctx.textAlign = "left";
      ctx.fillStyle = { ours: colours.ours, peer: colours.text, floor: colours.light }[bar.kind];
      ctx.fillText(shorten(ctx, bar.side, room), area.left, base);
      const [least, most] = [x.getPixelForValue(bar.least), x.getPixelForValue(bar.most)];
      if (most - least >= 1) {
        ctx.strokeStyle = colours.text;
        ctx.lineWidth = 1.5;
        ctx.beginPath();
        ctx.moveTo(least, y);
        ctx.lineTo(most, y);
        for (const end of [least, most]) {
          ctx.moveTo(end, y - 3.5);
          ctx.lineTo(end, y + 3.5);
        }
        ctx.stroke();
      }
      if (i > 0 && bar.kind === "floor" && bars[i - 1].kind !== "floor") {
        const line = y - barHeight / 2 - 22;
        ctx.strokeStyle = colours.line;
        ctx.lineWidth = 1;
        ctx.beginPath();
        ctx.moveTo(area.left, line);
        ctx.lineTo(area.right, line);
        ctx.stroke();
      }
    });
    ctx.restore();
  },
};

function draw({ id, unit, bars }) {
  const canvas = document.getElementById(id);
  const kind = ({ dataIndex }) => bars[dataIndex].kind;
  return new Chart(canvas, {
    type: "bar",
    data: {
      labels: bars.map((bar) => bar.side),
      datasets: [{
        data: bars.map((bar) => bar.median),
        barThickness: barHeight,
        borderRadius: 2,
        borderSkipped: "start",
        minBarLength: 2,
        backgroundColor: (c) => (kind(c) === "floor" ? hatched : colours[kind(c)]),
        borderColor: () => colours.floor,
        borderWidth: (c) => (kind(c) === "floor" ? 1 : 0),
      }],
    },
    options: {
      indexAxis: "y",
      animation: false,
      maintainAspectRatio: false,
      font: { family: font },
      scales: {
        x: {
          beginAtZero: true,
          suggestedMax: Math.max(...bars.map((bar) => bar.most)),
          border: { display: false },
          grid: { color: () => colours.line, drawTicks: false },
          ticks: { color: () => colours.light, font: { family: font, size: 11 }, align: "inner", maxTicksLimit: 5, maxRotation: 0, padding: 6, callback: (v) => compact.format(v) },
        },
        // A bar stands in the lower part of its row, below its name.
        y: { display: false, offset: true },
      },
      layout: { padding: { top: 9 } },
      plugins: {
        legend: { display: false },
        annotate: { bars },
        tooltip: {
          displayColors: false,
          callbacks: {
            label: ({ dataIndex }) => {
              const bar = bars[dataIndex];
              const number = (v) => v.toLocaleString("en", { maximumSignificantDigits: 4 });
              return [`${bar.figure} ${unit}`.trim(), bar.runs > 1 ? `${number(bar.least)} to ${number(bar.most)} in ${bar.runs} runs` : "one run"];
            },
          },
        },
      },
    },
    plugins: [annotate],
  });
}

const data = JSON.parse(document.getElementById("data").textContent);
for (const { id, bars } of data) { // all before the first chart asks for its size
  document.getElementById(id).parentNode.style.height = `${bars.length * rowHeight + axisHeight}px`;
}
takeColours();
const charts = data.map(draw);
dark.addEventListener("change", () => {
  takeColours();
  charts.forEach((chart) => chart.update());
});
