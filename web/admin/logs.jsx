/* Lines of the log as they are written, where the server sends them as events. */
import { useEffect, useState } from "react";
import { follow } from "./api.js";
import { t, visible } from "./text.js";

const most = 500; /* lines that are kept */
let count = 0;

/* `text` of a line has its fields with their names. */
const text = (line) => visible(Object.entries(line).filter(([, value]) => value !== "")
  .map(([key, value]) => (key === "text" ? value : `${key}=${value}`)).join(" "));

/* A mark between the lines: the stream ended there, and another one goes on. */
const broken = (why) => ({ id: count++, mark: true, text: t("logs.broke", { at: new Date().toLocaleString("sv"), why: why || t("logs.unknown") }) });

const lost = ({ count: n }) => ({ id: count++, mark: true, text: t("logs.lost", { n }) });

export function Tail() {
  const [there, setThere] = useState(true);
  const [lines, setLines] = useState([]);
  const [find, setFind] = useState("");
  const [paused, setPaused] = useState(false);
  useEffect(() => {
    if (paused || !there) return undefined;
    const stop = new AbortController();
    const add = (line) => setLines((old) => [line, ...old].slice(0, most));
    follow(["log"], stop.signal, (topic, line) => add(topic === "lost" ? lost(line) : { id: count++, text: text(line) }),
      (why) => stop.signal.aborted || setLines((old) => (old[0]?.mark ? old : [broken(why), ...old].slice(0, most))))
      .then(() => stop.signal.aborted || setThere(false));
    return () => stop.abort();
  }, [paused, there]);
  const again = () => {
    setPaused(!paused && there);
    setThere(true);
  };
  return (
    <section className="card wide">
      <h2>{t("logs.tail")}</h2>
      <div className="tools">
        <label>{t("logs.find")} <input type="search" value={find} onChange={(e) => setFind(e.target.value)} /></label>
        <button type="button" onClick={again}>{t(paused || !there ? "logs.go" : "logs.pause")}</button>
      </div>
      {!there && <p className="problem" role="status">{t("logs.none")}</p>}
      <ol className="log" tabIndex={0} aria-label={t("logs.tail")}>
        {lines.filter((line) => line.mark || line.text.includes(find))
          .map((line) => <li key={line.id} className={line.mark ? "mark" : undefined}>{line.text}</li>)}
      </ol>
    </section>
  );
}
