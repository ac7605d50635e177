/* Lines of the log as they are written, where the server sends them as events. */
import { useEffect, useState } from "react";
import { follow } from "./api.js";
import { t } from "./text.js";

const most = 500; /* lines that are kept */
let count = 0;

const text = (line) => Object.entries(line).map(([key, value]) => `${key}=${value}`).join(" ");

export function Tail() {
  const [there, setThere] = useState(true);
  const [lines, setLines] = useState([]);
  const [find, setFind] = useState("");
  const [paused, setPaused] = useState(false);
  useEffect(() => {
    if (paused) return undefined;
    const stop = new AbortController();
    follow(["log"], stop.signal, (topic, line) =>
      setLines((old) => [{ id: count++, text: text(line) }, ...old].slice(0, most)))
      .then(() => stop.signal.aborted || setThere(false));
    return () => stop.abort();
  }, [paused]);
  if (!there) return null;
  return (
    <section className="card wide">
      <h2>{t("logs.tail")}</h2>
      <div className="tools">
        <label>{t("logs.find")} <input type="search" value={find} onChange={(e) => setFind(e.target.value)} /></label>
        <button type="button" onClick={() => setPaused(!paused)}>{t(paused ? "logs.go" : "logs.pause")}</button>
      </div>
      <ol className="log" tabIndex={0} aria-label={t("logs.tail")}>
        {lines.filter((line) => line.text.includes(find)).map((line) => <li key={line.id}>{line.text}</li>)}
      </ol>
    </section>
  );
}
