/* The dashboard: figures as they are now, plots of the last minutes or hours, and what is wrong. The
 * server sends figures as events; where it has none, they are read every few seconds. */
import { useEffect, useMemo, useState } from "react";
import { follow, repeat, run } from "./api.js";
import { Facts, isThere, Problem, useConsole, useRun } from "./parts.jsx";
import { Plot } from "./plot.jsx";
import { Rows } from "./table.jsx";
import { rounded, t } from "./text.js";

/* What is drawn: the sum of these series (`of`), or a line for each; by second if they count
 * (`rate`), or for each unit of another series (`per`). Figures that the server does not have are left
 * out. */
const figures = [
  { name: "dashboard.sessions", unit: "unit.sessions", of: ["muster_sessions"] },
  { name: "dashboard.logins", unit: "unit.per-second", of: ["muster_latency_us{stage=login}"], rate: true },
  { name: "dashboard.received", unit: "unit.per-second", of: ["muster_messages_received"], rate: true },
  { name: "dashboard.delivered", unit: "unit.per-second", of: ["muster_c2s_messages_sent"], rate: true },
  { name: "dashboard.sent", unit: "unit.per-second", of: ["muster_c2s_stanzas_sent"], rate: true },
  { name: "dashboard.rooms", unit: "unit.rooms", of: ["muster_rooms"] },
  { name: "dashboard.commit", unit: "unit.ms", of: ["muster_latency_us_sum{stage=commit}"],
    per: ["muster_latency_us{stage=commit}"], scale: 1e-3 },
  { name: "dashboard.memory", unit: "unit.mib", of: ["muster_memory_resident_bytes"], scale: 1 / 1048576 },
  { name: "dashboard.processor", unit: "unit.percent", of: ["muster_worker_cpu_us"], rate: true, scale: 1e-4, each: true },
  { name: "dashboard.federation", unit: "unit.streams", of: ["muster_s2s_streams"] },
  { name: "dashboard.stored", unit: "unit.messages", of: ["muster_s2s_stored"] },
  { name: "dashboard.queue", unit: "unit.waiting", of: ["muster_store_queue"] },
];
const ranges = [5, 60, 24 * 60]; /* minutes */
const kept = 2000; /* samples; the server remembers older ones */
const pause = 10000; /* between two looks at the state */

/* "muster_s2s_streams{direction=in}" is one of the series of muster_s2s_streams. */
const isOf = (key, names) => names.includes(key) || names.includes(key.split("{")[0]);

function sum(values, names) {
  const found = Object.keys(values).filter((key) => isOf(key, names));
  return found.length > 0 ? found.reduce((all, key) => all + values[key], 0) : undefined;
}

async function readMetrics() {
  const values = {};
  for (const row of (await run("metrics")).rows) {
    const label = row.label ? `{${row.label}}` : "";
    values[row.name + label] = row.value;
    if (row.sum !== undefined) values[`${row.name}_sum${label}`] = row.sum;
  }
  return values;
}

/* Samples {time, values} as they come: by events, or asked for. The first event may take 2 s, so what
 * stands there until then is asked for; it has the time of this machine, and makes way. */
function useSamples(allowed) {
  const [samples, setSamples] = useState([]);
  useEffect(() => {
    if (!allowed) return undefined;
    const stop = new AbortController();
    const add = (values, time = Date.now()) =>
      setSamples((old) => [...(old[0]?.early ? [] : old.slice(-kept)), { time, values }]);
    readMetrics().then((values) => setSamples((old) => (old.length > 0 ? old : [{ time: Date.now(), values, early: true }])), () => {});
    follow(["metrics"], stop.signal, (topic, data) => topic === "metrics" && add(data.values, Date.parse(data.time)))
      .then(() => repeat(stop.signal, isThere, async () => add(await readMetrics())));
    return () => stop.abort();
  }, [allowed]);
  return samples;
}

/* The points of a line from samples. A counter that has become smaller began anew. */
function pointsOf({ of, rate, per, scale = 1 }, samples) {
  const points = [];
  let last;
  for (const { time, values } of samples) {
    const y = sum(values, of);
    if (y === undefined) continue;
    const parts = per ? sum(values, per) : time / 1000;
    if (!rate && !per) points.push({ x: time, y: y * scale });
    else if (last && parts > last.parts) points.push({ x: time, y: Math.max(0, (y - last.y) / (parts - last.parts)) * scale });
    last = { y, parts };
  }
  return points;
}

/* The lines of a figure: one, or one for each of the series, by their labels. */
function linesOf(figure, keys) {
  if (!figure.each) return [{ ...figure, title: t(figure.name) }];
  return keys.filter((key) => isOf(key, figure.of))
    .map((key) => ({ ...figure, of: [key], title: key.replace(/^.*\{|\}$/g, "") }));
}

/* What the server remembers of a figure, as samples (`metrics history`). */
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

function useHistory(figure, minutes, known) {
  const { rows } = useConsole();
  const [samples, setSamples] = useState([]);
  const command = rows.commands.get("metrics history");
  const keys = known.filter((key) => isOf(key, [...figure.of, ...(figure.per || [])])).join(" ");
  useEffect(() => {
    if (!command || !keys) return undefined;
    let current = true;
    readHistory(command, keys.split(" "), minutes).then((found) => current && setSamples(found)).catch(() => {});
    return () => { current = false; };
  }, [command, minutes, keys]);
  return samples;
}

function Figure({ figure, samples, minutes, range, known, part, choose }) {
  const history = useHistory(figure, minutes, known);
  const newest = samples[samples.length - 1]?.values;
  const series = useMemo(() => {
    const live = samples.filter(({ time }) => time >= range[0]);
    const all = [...history.filter(({ time }) => time >= range[0] && !(time >= live[0]?.time)), ...live];
    return linesOf(figure, Object.keys(newest ?? {})).map((line) => ({ name: line.title, points: pointsOf(line, all) }));
  }, [samples, history, range]);
  if (newest && sum(newest, figure.of) === undefined) return null;
  const last = series.map(({ points }) => points[points.length - 1]).filter(Boolean);
  return (
    <section className="card">
      <h2>{t(figure.name)}</h2>
      <p className="figure"><span>{last.length > 0 ? last.map((point) => rounded(point.y)).join(" · ") : "–"}</span> <small>{t(figure.unit)}</small></p>
      <Plot series={series} name={t(figure.name)} unit={t(figure.unit)} range={range} part={part} choose={choose} />
    </section>
  );
}

function State() {
  const { rows } = useConsole();
  const status = rows.commands.get("status");
  const { rows: found, error } = useRun(status?.name, {}, { every: pause });
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
  const { rows: found, error } = useRun(list?.name, {}, { every: pause });
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
  const [part, setPart] = useState(null);
  const samples = useSamples(rows.commands.has("metrics"));
  /* One for all plots, up to the newest sample. */
  const range = useMemo(() => {
    const end = samples[samples.length - 1]?.time ?? Date.now();
    return [end - minutes * 60000, end];
  }, [samples, minutes]);
  const { rows: remembered } = useRun(rows.commands.has("metrics series") ? "metrics series" : null, {});
  const known = (remembered || []).map((row) => row.name);
  const shown = rows.commands.has("metrics history") ? ranges : ranges.slice(0, 2);
  return (
    <>
      <Alarms />
      {rows.commands.has("metrics") && (
        <>
          <div className="tools" role="group" aria-label={t("dashboard.range")}>
            {shown.map((one) => (
              <button key={one} type="button" aria-pressed={one === minutes} onClick={() => { setMinutes(one); setPart(null); }}>
                {one < 120 ? t("dashboard.minutes", { n: one }) : t("dashboard.hours", { n: one / 60 })}
              </button>
            ))}
            {part && <button type="button" onClick={() => setPart(null)}>{t("plot.reset")}</button>}
          </div>
          <div className="cards">
            {figures.map((figure) => <Figure key={figure.name} figure={figure} samples={samples} minutes={minutes} range={range} known={known} part={part} choose={setPart} />)}
          </div>
        </>
      )}
      <State />
    </>
  );
}
