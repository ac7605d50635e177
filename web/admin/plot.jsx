/* A plot over time. Dragging over a part shows that part; a button shows all again. */
import { useEffect, useRef, useState } from "react";
import { Chart, Legend, LinearScale, LineController, LineElement, PointElement, Tooltip } from "chart.js";
import { t } from "./text.js";

Chart.register(LineController, LineElement, PointElement, LinearScale, Tooltip, Legend);

const colours = ["#2f7fd6", "#d2691e", "#2e9e62", "#a04fc4", "#c0392b"];
const clock = (ms) => new Date(ms).toLocaleTimeString("sv");
const day = (ms) => new Date(ms).toLocaleString("sv").slice(5, 16);
const rounded = (n) => Number(n.toPrecision(4)).toLocaleString("en");

function make(canvas, ink) {
  const axis = { grid: { color: "rgba(128,128,128,.2)" }, ticks: { color: ink, maxTicksLimit: 4, maxRotation: 0 } };
  return new Chart(canvas, {
    type: "line",
    data: { datasets: [] },
    options: {
      animation: false, parsing: false, normalized: true, maintainAspectRatio: false,
      interaction: { mode: "nearest", axis: "x", intersect: false },
      scales: {
        x: { ...axis, type: "linear", ticks: { ...axis.ticks,
          callback(at) { return this.max - this.min > 6 * 3600e3 ? day(at) : clock(at); } } },
        y: { ...axis, beginAtZero: true },
      },
      plugins: {
        legend: { labels: { color: ink, boxWidth: 10 } },
        tooltip: { callbacks: { title: (items) => new Date(items[0].parsed.x).toLocaleString("sv") } },
      },
    },
  });
}

/* What a screen reader is told in place of the picture. */
function label(name, series) {
  const values = series.flatMap(({ points }) => points.map((point) => point.y));
  if (values.length === 0) return t("plot.none", { name });
  return t("plot.label", { name, last: rounded(values[values.length - 1]),
    low: rounded(Math.min(...values)), high: rounded(Math.max(...values)) });
}

export function Plot({ series, name }) {
  const canvas = useRef(null);
  const chart = useRef(null);
  const from = useRef(null);
  const [part, setPart] = useState(null);
  useEffect(() => {
    chart.current = make(canvas.current, getComputedStyle(document.body).color);
    return () => chart.current.destroy();
  }, []);
  useEffect(() => {
    const { data, options } = chart.current;
    data.datasets = series.map(({ name: title, points }, i) => ({
      label: title, data: points, borderColor: colours[i % colours.length], backgroundColor: colours[i % colours.length],
      borderWidth: 1.5, pointRadius: points.length > 60 ? 0 : 2 }));
    options.plugins.legend.display = series.length > 1;
    Object.assign(options.scales.x, { min: part?.[0], max: part?.[1] });
    chart.current.update("none");
  }, [series, part]);
  const at = (event) => chart.current.scales.x.getValueForPixel(event.nativeEvent.offsetX);
  const drop = (event) => {
    const ends = [from.current, at(event)].sort((a, b) => a - b);
    from.current = null;
    if (ends[0] !== null && ends[1] - ends[0] > 1000) setPart(ends);
  };
  return (
    <div className="plot">
      <div><canvas ref={canvas} role="img" aria-label={label(name, series)}
        onPointerDown={(event) => { from.current = at(event); }} onPointerUp={drop} /></div>
      {part && <button type="button" onClick={() => setPart(null)}>{t("plot.reset")}</button>}
    </div>
  );
}
