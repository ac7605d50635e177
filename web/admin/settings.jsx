/* Settings: found by name or text, edited as a candidate, compared, checked against the live state,
 * applied at once, and confirmed or taken back. The server keeps the candidate and the history. */
import { useEffect, useMemo, useState } from "react";
import { follow, run } from "./api.js";
import { Dialog, link, Problem, useClearedError, useConsole, useKept, useRun } from "./parts.jsx";
import { Field } from "./form.jsx";
import { nearest } from "./rows.js";
import { Rows } from "./table.jsx";
import { label, plain, shown, t } from "./text.js";

const most = 200; /* that are drawn; searching finds the others */

function Editor({ row, setting, close }) {
  const { rows, touch, say } = useConsole();
  const [value, setValue] = useState(row.value);
  const [error, setError] = useState(null);
  useClearedError(error, () => setError(null));
  const may = rows.commands.has("config edit") && !row.locked && !setting?.local;
  const keep = async (args) => {
    try {
      say((await run("config edit", { setting: row.name, ...args })).text);
      touch();
      close();
    } catch (refused) {
      setError(refused);
    }
  };
  const submit = (event) => {
    event.preventDefault();
    keep({ value });
  };
  const notes = [setting?.restart && t("settings.restart", { part: setting.restart }), row.locked && t("settings.locked"),
    setting?.local && t("settings.local"),
    row.changed_by && t("settings.by", { who: row.changed_by, at: shown({ type: "timestamp" }, row.changed_at) })];
  return (
    <Dialog title={row.name} close={close}>
      <p className="doc" lang={setting?.langs.doc}>{setting?.doc}</p>
      <ul className="notes">{notes.filter(Boolean).map((note) => <li key={note}>{note}</li>)}</ul>
      <form onSubmit={submit}>
        <Field arg={{ ...setting, name: "value", kind: "required", needed: true, langs: {}, doc: t("settings.default") + ": " + (shown({ ...setting, name: "value" }, row.default_value) || "–") }}
          value={value} change={setValue} wrong={error !== null} />
        <Problem error={error} />
        <p className="buttons">
          {may && <button type="submit" className="main">{t("settings.keep")}</button>}
          {may && <button type="button" onClick={() => keep({ default: true })}>{t("settings.reset")}</button>}
          <button type="button" onClick={close}>{t("form.cancel")}</button>
        </p>
      </form>
    </Dialog>
  );
}

/* The settings that a page is about, also those of single domains, as links to where they are changed. */
export function Governing({ names }) {
  const { rows } = useConsole();
  const has = rows.commands.has("config show");
  const { rows: found } = useRun(has ? "config show" : null, { prefix: `${names[0].split(".")[0]}.` });
  const place = ({ name }) => names.indexOf(name.split("@")[0]);
  const shownRows = (found || []).filter((row) => place(row) >= 0).sort((a, b) => place(a) - place(b));
  if (shownRows.length === 0) return null;
  return (
    <section className="card wide">
      <h2>{t("settings.governing")}</h2>
      <dl className="facts">
        {shownRows.map((row) => (
          <div key={row.name}>
            <dt><a href={link("settings", row.name)} title={rows.settings.get(row.name.split("@")[0])?.doc}>{row.name}</a></dt>
            <dd><code>{row.value === "" ? "–" : row.value}</code></dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

/* What is edited and does not apply yet, and how it would change what runs. */
function Candidate() {
  const { rows, open, touch, say } = useConsole();
  const diff = rows.commands.get("config diff");
  const { rows: found, text } = useRun(diff?.name, {});
  if (!diff || !found || found.length === 0) return null;
  const command = (name) => rows.commands.get(name);
  const shown = { shown: found[0].shown }; // another tab may edit it
  const drop = () => run("config drop").then((answer) => { say(answer.text); touch(); }, (error) => say(error.message));
  return (
    <section className="card wide candidate">
      <p>{t("settings.candidate", { n: found.length })}</p>
      <Rows command={diff} rows={found} bound={shown} wide />
      {text && <p className="said" role="status">{plain(text, rows.commands)}</p>}
      <p className="buttons">
        {command("config apply") && <button type="button" className="main" onClick={() => open(command("config apply"), shown)}>{t("settings.apply")}</button>}
        {command("config drop") && <button type="button" onClick={drop}>{t("settings.drop")}</button>}
      </p>
    </section>
  );
}

/* Reads again when the server tells of a change, of whoever made it. */
function useChanges() {
  const { rows, touch } = useConsole();
  const has = rows.commands.has("config history");
  useEffect(() => {
    if (!has) return undefined;
    const stop = new AbortController();
    follow(["settings"], stop.signal, touch);
    return () => stop.abort();
  }, [has, touch]);
}

export function Settings({ about = "" }) {
  const { rows } = useConsole();
  useChanges();
  const [find, setFind] = useKept("settings find", about);
  const [changed, setChanged] = useKept("settings changed", false);
  const [editing, setEditing] = useState(null);
  const { rows: found, error } = useRun("config show", {});
  const shownRows = useMemo(() => nearest((found || []).filter((row) => {
    const text = `${row.name} ${rows.settings.get(row.name)?.doc ?? ""} ${row.value}`.toLowerCase();
    return (!changed || row.changed) && find.toLowerCase().split(/\s+/).every((word) => text.includes(word));
  }), find), [found, find, changed]);
  return (
    <>
      <Candidate />
      <div className="tools">
        <label>{t("settings.find")} <input type="search" value={find} onChange={(e) => setFind(e.target.value)} /></label>
        <label><input type="checkbox" checked={changed} onChange={(e) => setChanged(e.target.checked)} /> {t("settings.changed")}</label>
        <span role="status">{found && t("settings.count", { n: shownRows.length, all: found.length })}</span>
      </div>
      <Problem error={error} />
      <ul className="settings">
        {shownRows.slice(0, most).map((row) => (
          <li key={row.name} className={row.changed ? "changed" : ""}>
            <button type="button" className="link" onClick={() => setEditing(row)}
              aria-label={t("settings.show", { name: row.name })}>{row.name}</button>
            <code>{row.value === "" ? "–" : row.value}</code>
            <small lang={rows.settings.get(row.name)?.langs.doc}>{rows.settings.get(row.name)?.doc ?? label(row.name)}</small>
          </li>
        ))}
      </ul>
      {editing && <Editor row={editing} setting={rows.settings.get(editing.name.split("@")[0])} close={() => setEditing(null)} />}
    </>
  );
}
