/* The dashboard: figures as they are now, plots of the last minutes or hours, and what is wrong. The
 * server sends figures as events; where it has none, they are read every few seconds. */
import { useEffect, useMemo, useState } from "react";
import { listen, run } from "./api.js";
import { Facts, Problem, useConsole, useRun } from "./parts.jsx";
import { Plot } from "./plot.jsx";
import { Rows } from "./table.jsx";
import { t } from "./text.js";

/* What is drawn: the sum of these series, per second if it counts. Figures that the server does not
 * have are left out. */
const figures = [
  { name: "dashboard.sessions", series: ["muster_sessions"] },
  { name: "dashboard.received", series: ["muster_messages_received"], rate: true },
  { name: "dashboard.sent", series: ["muster_c2s_stanzas_sent"], rate: true },
  { name: "dashboard.logins", series: ["muster_io_tls_handshakes"], rate: true },
  { name: "dashboard.rooms", series: ["muster_rooms_loaded"] },
  { name: "dashboard.federation", series: ["muster_s2s_streams"] },
  { name: "dashboard.queue", series: ["muster_store_queue"] },
];
const ranges = [5, 60, 24 * 60]; /* minutes */
const kept = 24 * 60 * 12; /* samples, of some seconds each */
const pause = 5000;

/* "muster_s2s_streams{direction=in}" is one of the series of muster_s2s_streams. */
const family = (key) => key.split("{")[0];

function sum(values, names) {
  const found = Object.entries(values).filter(([key]) => names.includes(family(key)));
  return found.length > 0 ? found.reduce((all, [, value]) => all + value, 0) : undefined;
}

const keyOf = (row) => (row.label ? `${row.name}{${row.label}}` : row.name);

async function readMetrics() {
  const { rows } = await run("metrics");
  return Object.fromEntries(rows.map((row) => [keyOf(row), row.value]));
}

/* Samples {time, values} as they come: by events, or asked for. */
function useSamples(allowed) {
  const [samples, setSamples] = useState([]);
  useEffect(() => {
    if (!allowed) return undefined;
    const stop = new AbortController();
    const add = (values, time = Date.now()) => setSamples((old) => [...old.slice(-kept), { time, values }]);
    const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    (async () => {
      let events = true;
      while (!stop.signal.aborted) {
        try {
          if (events)
            events = await listen(["metrics"], stop.signal, (topic, data) => add(data.values, Date.parse(data.time) || Date.now()));
          if (!events && !document.hidden) add(await readMetrics());
        } catch (error) {
          if (error.status === 401) return; /* the login page asks */
        }
        await wait(pause);
      }
    })();
    return () => stop.abort();
  }, [allowed]);
  return samples;
}

/* The points of a figure from samples; of a counter the growth each second. */
function pointsOf(figure, samples) {
  const points = [];
  let last;
  for (const { time, values } of samples) {
    const y = sum(values, figure.series);
    if (y === undefined) continue;
    if (!figure.rate) points.push({ x: time, y });
    else if (last && time > last.x) points.push({ x: time, y: Math.max(0, (y - last.y) * 1000 / (time - last.x)) });
    last = { x: time, y };
  }
  return points;
}

/* What the server remembers of a figure: the sum of its series by time (`metrics history`). */
async function readHistory(command, keys, minutes) {
  const from = new Date(Date.now() - minutes * 60000).toISOString();
  const all = await Promise.all(keys.map((key) => run(command.name, { [command.args[0].name]: key, from })));
  const samples = new Map();
  all.forEach(({ rows }, i) => rows.forEach((row) => {
    const time = Date.parse(row.time);
    samples.set(time, { time, values: { ...samples.get(time)?.values, [keys[i]]: row.value } });
  }));
  return [...samples.values()].sort((a, b) => a.time - b.time);
}

function useHistory(figure, minutes, now) {
  const { rows } = useConsole();
  const [points, setPoints] = useState([]);
  const command = rows.commands.get("metrics history");
  const keys = Object.keys(now?.values ?? {}).filter((key) => figure.series.includes(family(key))).join(" ");
  useEffect(() => {
    if (!command || !keys) return undefined;
    let current = true;
    readHistory(command, keys.split(" "), minutes)
      .then((samples) => current && setPoints(pointsOf(figure, samples))).catch(() => {});
    return () => { current = false; };
  }, [command, figure, minutes, keys]);
  return points;
}

function Figure({ figure, samples, minutes }) {
  const history = useHistory(figure, minutes, samples[samples.length - 1]);
  const name = t(figure.name);
  const series = useMemo(() => {
    const begin = Date.now() - minutes * 60000;
    const live = pointsOf(figure, samples).filter((point) => point.x >= begin);
    const before = history.filter((point) => point.x >= begin && !(point.x >= live[0]?.x));
    return [{ name, points: [...before, ...live] }];
  }, [samples, history, minutes]);
  const { points } = series[0];
  if (samples.length > 0 && sum(samples[samples.length - 1].values, figure.series) === undefined) return null;
  return (
    <section className="card">
      <h2>{name}</h2>
      <p className="figure">{points.length > 0 ? Number(points[points.length - 1].y.toPrecision(3)).toLocaleString("en") : "–"}</p>
      <Plot series={series} name={name} />
    </section>
  );
}

function State() {
  const { rows } = useConsole();
  const status = rows.commands.get("status");
  const { rows: found, error } = useRun(status?.name, {}, { every: 2 * pause });
  if (!status) return null;
  return (
    <section className="card">
      <h2>{t("dashboard.state")}</h2>
      <Problem error={error} />
      {found?.[0] && <Facts command={status} row={found[0]} />}
    </section>
  );
}

function Alarms() {
  const { rows } = useConsole();
  const list = rows.commands.get("alarm list");
  const { rows: found, error } = useRun(list?.name, {}, { every: 2 * pause });
  if (!list) return null;
  return (
    <section className="card wide">
      <h2>{t("dashboard.alarms")}</h2>
      <Problem error={error} />
      {found && (found.length > 0 ? <Rows command={list} rows={found} bound={{}} /> : <p>{t("dashboard.quiet")}</p>)}
    </section>
  );
}

export function Dashboard() {
  const { rows } = useConsole();
  const [minutes, setMinutes] = useState(ranges[0]);
  const samples = useSamples(rows.commands.has("metrics"));
  const shown = rows.commands.has("metrics history") ? ranges : ranges.slice(0, 2);
  return (
    <>
      <Alarms />
      {rows.commands.has("metrics") && (
        <>
          <div className="tools" role="group" aria-label={t("dashboard.range")}>
            {shown.map((one) => (
              <button key={one} type="button" aria-pressed={one === minutes} onClick={() => setMinutes(one)}>
                {one < 120 ? t("dashboard.minutes", { n: one }) : t("dashboard.hours", { n: one / 60 })}
              </button>
            ))}
          </div>
          <div className="cards">
            {figures.map((figure) => <Figure key={figure.name} figure={figure} samples={samples} minutes={minutes} />)}
          </div>
        </>
      )}
      <State />
    </>
  );
}
