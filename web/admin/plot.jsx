/* A plot over time. Dragging over a part shows that part; a button shows all again. Plots of a page
 * that have one `range` and one `part` show the same time, one below the other. */
import { useEffect, useRef, useState } from "react";
import { Chart, Legend, LinearScale, LineController, LineElement, PointElement, Tooltip } from "chart.js";
import { language } from "./language.js";
import { t } from "./text.js";

Chart.register(LineController, LineElement, PointElement, LinearScale, Tooltip, Legend);

const colours = ["#2f7fd6", "#d2691e", "#2e9e62", "#a04fc4", "#c0392b"];
const clock = (ms) => new Date(ms).toLocaleTimeString("sv");
const stamp = (ms) => new Date(ms).toLocaleString("sv");
const day = (ms) => stamp(ms).slice(5, 16);
const rounded = (n) => Number(n.toPrecision(4)).toLocaleString(language());

const axisWidth = 64; /* the same for all, so that times are aligned; px */

function make(canvas, ink) {
  const axis = { grid: { color: "rgba(128,128,128,.2)" }, ticks: { color: ink, maxTicksLimit: 4, maxRotation: 0 } };
  return new Chart(canvas, {
    type: "line",
    data: { datasets: [] },
    options: {
      locale: language(), animation: false, parsing: false, normalized: true, maintainAspectRatio: false,
      interaction: { mode: "nearest", axis: "x", intersect: false },
      scales: {
        x: { ...axis, type: "linear", ticks: { ...axis.ticks,
          callback(at) { return this.max - this.min > 6 * 3600e3 ? day(at) : clock(at); } } },
        y: { ...axis, beginAtZero: true, title: { display: false, color: ink }, afterFit: (scale) => { scale.width = axisWidth; } },
      },
      plugins: {
        legend: { labels: { color: ink, boxWidth: 10 } },
        tooltip: { callbacks: { title: (items) => stamp(items[0].parsed.x) } },
      },
    },
  });
}

/* What a screen reader is told in place of the picture. */
function label(name, unit, series, time) {
  const points = series.flatMap((line) => line.points).filter(({ x }) => !time || (x >= time[0] && x <= time[1]));
  const values = points.map((point) => point.y);
  const ends = time ?? [Math.min(...points.map((point) => point.x)), Math.max(...points.map((point) => point.x))];
  if (values.length === 0) return t("plot.none", { name });
  return t("plot.label", { name, unit: unit ?? "", from: stamp(ends[0]), to: stamp(ends[1]), last: rounded(values[values.length - 1]),
    low: rounded(Math.min(...values)), high: rounded(Math.max(...values)) });
}

/* `range`: [first, last] of the time that is shown, ms, else that of the points; `part`: what of it is
 * chosen, with choose(part), where others share it. */
export function Plot({ series, name, unit, range, part: shared, choose }) {
  const canvas = useRef(null);
  const chart = useRef(null);
  const from = useRef(null);
  const [own, setOwn] = useState(null);
  const [part, setPart] = choose ? [shared, choose] : [own, setOwn];
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
    const [min, max] = part ?? range ?? [];
    Object.assign(options.scales.x, { min, max });
    Object.assign(options.scales.y.title, { display: Boolean(unit), text: unit });
    chart.current.update("none");
  }, [series, part, range]);
  const at = (event) => chart.current.scales.x.getValueForPixel(event.nativeEvent.offsetX);
  const drop = (event) => {
    const ends = [from.current, at(event)].sort((a, b) => a - b);
    from.current = null;
    if (ends[0] !== null && ends[1] - ends[0] > 1000) setPart(ends);
  };
  return (
    <div className="plot">
      <div><canvas ref={canvas} role="img" aria-label={label(name, unit, series, part ?? range)}
        onPointerDown={(event) => { from.current = at(event); }} onPointerUp={drop} /></div>
      {part && !choose && <button type="button" onClick={() => setPart(null)}>{t("plot.reset")}</button>}
    </div>
  );
}
