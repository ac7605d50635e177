/* A form for any command, made from its arguments; what it asks before it destroys; what it said. */
import { useEffect, useId, useRef, useState } from "react";
import { Refused, changeThing, readThing, run } from "./api.js";
import { listNamed, startOf, turnsPages } from "./rows.js";
import { Dialog, Facts, Problem, saveFile, useClearedError, useConsole, useRun } from "./parts.jsx";
import { Rows } from "./table.jsx";
import { compared } from "./pages.js";
import { answered, said } from "./language.js";
import { label, named, plain, t, visible } from "./text.js";

/* The words that a field offers: names of settings, or the lines of a list of its name. */
function Names({ id, arg }) {
  const { rows } = useConsole();
  const list = arg.refers === "setting" ? null : listNamed(rows, arg);
  const { rows: found } = useRun(list?.name, {});
  const names = arg.refers === "setting" ? [...rows.settings.keys()]
    : list ? (found || []).map((row) => row[list.columns[0].name]) : [];
  return <datalist id={id}>{names.map((name) => <option key={name} value={name} />)}</datalist>;
}

export function Field({ arg, value, change, wrong }) {
  const id = useId();
  const hint = [arg.many && t("form.many"), arg.kind === "made" && t("form.made"),
    arg.allowed && !arg.choices && t("form.allowed", arg), arg.unit].filter(Boolean).join("; ");
  const shared = { id, "aria-describedby": `${id}hint`, "aria-invalid": wrong || undefined,
    required: arg.needed };
  const offers = arg.refers === "setting" || arg.type === "string";
  let input;
  if (arg.kind === "flag")
    input = <input type="checkbox" {...shared} checked={value === true} onChange={(e) => change(e.target.checked)} />;
  else if (arg.choices)
    input = (
      <select {...shared} value={value ?? ""} onChange={(e) => change(e.target.value)}>
        <option value="">{t("form.unchanged")}</option>
        {arg.choices.map((choice) => <option key={choice} value={choice}>{said(choice)}</option>)}
      </select>
    );
  else if (arg.lines || (arg.long && (arg.name === "text" || arg.name === "value")))
    input = <textarea {...shared} rows={arg.lines ? 8 : 2} spellCheck={!arg.lines} autoComplete="off" value={value ?? ""} onChange={(e) => change(e.target.value)} />;
  else
    input = <input {...shared} type={arg.type === "secret" ? "password" : "text"} list={offers ? `${id}list` : undefined}
      autoComplete={arg.type === "secret" ? "new-password" : "off"} spellCheck={false}
      inputMode={arg.type === "int" ? "numeric" : undefined}
      value={value ?? ""} onChange={(e) => change(e.target.value)} />;
  return (
    <div className={arg.kind === "flag" ? "field flag" : "field"}>
      <label htmlFor={id}>{label(arg.name)}</label>
      {input}
      {offers && !arg.choices && <Names id={`${id}list`} arg={arg} />}
      <small id={`${id}hint`}>{arg.doc && <span lang={arg.langs?.doc}>{arg.doc}</span>}{arg.doc && hint && "; "}{hint}</small>
    </div>
  );
}

/* What is sent: what was filled in or changed. An empty text is sent where it replaces one. */
function filledIn(command, values, begun, bound) {
  const args = { ...bound };
  for (const arg of command.args) {
    const value = values[arg.name];
    const needed = arg.kind === "required";
    if (value === undefined || value === false || (!needed && value === (begun[arg.name] ?? ""))) continue;
    args[arg.name] = value;
  }
  return args;
}

/* What goes with the thing that a command destroys. */
function Losses({ command, bound }) {
  const { rows } = useConsole();
  const list = rows.commands.get(command.loses);
  const given = Object.fromEntries((list?.args ?? []).filter(({ name }) => name in bound).map(({ name }) => [name, bound[name]]));
  const { rows: found } = useRun(Object.keys(given).length > 0 ? list.name : null, given);
  if (!found || found.length === 0) return null;
  return <section><h3>{t("form.losses")}</h3><Rows command={list} rows={found} bound={bound} /></section>;
}

/* How far the work is that a form waits for: the newest that runs of this command. */
function Progress({ command }) {
  const { rows } = useConsole();
  const has = rows.commands.has("job list");
  const { rows: found } = useRun(has ? "job list" : null, { running: true }, { every: 1000 });
  const job = (found || []).find((row) => row.command === command.name);
  const percent = typeof job?.percent === "number" ? job.percent : undefined;
  return (
    <p className="progress" role="status">
      <progress max={100} value={percent} aria-label={named(command)} /> {job ? answered(job.text) : t("form.runs")}
    </p>
  );
}

/* The rows of all pages are the lines of a file, which the browser saves: how many there are. */
async function saveRows(command, args, tell) {
  const [column] = command.columns, parts = [];
  for (let after, count = 0; ;) {
    const answer = await run(command.name, { ...args, after });
    parts.push(new Blob(answer.rows.map((row) => `${row[column.name]}\n`)));
    count += answer.rows.length;
    after = answer.next;
    if (after === undefined) {
      const thing = command.args.find((arg) => arg.kind === "required");
      saveFile(`${args[thing?.name] ?? command.name}.${command.file}`, new Blob(parts));
      return count;
    }
    tell(count);
  }
}

const same = (a, b) => String(a || "") === String(b || "");

/* The fields of a form, and the thing that it changes, which is read when the form is opened.
 * `ready()`: waits for that, and reads it again if that failed; resolves to the thing, or to null if
 * the change is not compared. It refuses with 412 if a field that a person has filled in is not what
 * the form showed. `lost(fields)`: what was sent, if the answer did not come: it may be there now. */
function useCompared(command, bound, start) {
  const [place, name] = compared[command.name] ?? [];
  const [fields, setFields] = useState(() => ({ row: start, begun: startOf(command, start), values: startOf(command, start) }));
  const latest = useRef(fields); // also before the form is drawn anew
  const reading = useRef(null);
  const sent = useRef([]);
  const keep = (next) => {
    latest.current = next;
    setFields(next);
  };
  const read = () => {
    const asked = bound[name] === undefined ? Promise.resolve(null) : readThing(place + encodeURIComponent(bound[name]));
    reading.current = asked;
    asked.catch(() => { if (reading.current === asked) reading.current = null; });
    return asked;
  };
  /* What was filled in stays. */
  const take = (row) => {
    const { begun, values, row: before } = latest.current, now = startOf(command, row);
    const filled = command.args.map((arg) => arg.name).filter((key) =>
      !same(values[key], begun[key]) || sent.current.some((fields) => key in fields));
    const expected = (key) => !(key in before) || [begun, values, ...sent.current].some((known) => same(known[key], now[key]));
    if (!filled.every(expected)) throw new Refused(412, {});
    keep({ row, begun: now, values: { ...now, ...Object.fromEntries(filled.map((key) => [key, values[key]])) } });
  };
  const ready = async () => {
    const thing = await (reading.current ?? read());
    if (thing) take(thing.row);
    return thing;
  };
  const readAgain = async () => {
    const thing = await read();
    const begun = startOf(command, thing?.row ?? start);
    sent.current = [];
    keep({ row: thing?.row ?? start, begun, values: begun });
  };
  const lost = (fields) => {
    sent.current.push(fields);
    reading.current = null;
  };
  const change = (key, value) => keep({ ...latest.current, values: { ...latest.current.values, [key]: value } });
  return { name, fields, latest, change, ready, readAgain, lost, sent };
}

/* Whether it is not known if the server has done what it was asked. */
const isLost = (error) => !(error.status >= 400 && error.status < 500);

/* `start`: a row with values to begin with; `bound`: values that are fixed. */
export function CommandForm({ command, bound = {}, start = {}, close }) {
  const { rows, say, touch, changed } = useConsole();
  const [state, setState] = useState({});
  const form = useRef(null);
  const { name, fields: { values }, latest, change, ready, readAgain, lost, sent } = useCompared(command, bound, start);
  const fail = (error) => setState({ error });
  useClearedError(state.error, () => setState({}));
  useEffect(() => { ready().catch(fail); }, [changed]);
  const showThere = () => {
    setState({ busy: true });
    readAgain().then(() => setState({}), fail);
  };
  const about = Object.keys(bound).filter((key) => key !== "shown").map((key) => bound[key]); // not the mark of a candidate
  const args = command.args.filter((arg) => bound[arg.name] === undefined && !turnsPages(command, arg) &&
    !(command.file && arg.name === "limit"));
  const sendChange = async (thing, given, fields) => {
    if (!thing) return run(command.name, given);
    if (sent.current.length > 0 && Object.keys(fields).length === 0) return { rows: [] }; // it is done
    return changeThing(thing, fields).catch((error) => {
      if (isLost(error) || (error.status === 412 && sent.current.length > 0)) lost(fields);
      throw error;
    });
  };
  const send = async (event) => {
    event.preventDefault();
    setState({ busy: true });
    try {
      const thing = await ready();
      const { values, begun } = latest.current;
      const given = filledIn(command, values, begun, bound);
      if (command.file) {
        say(t("form.saved", { count: await saveRows(command, given, (count) => setState({ busy: true, count })) }));
        close();
        return;
      }
      const { [name]: _, ...fields } = given;
      const answer = await sendChange(thing, given, fields);
      if (!command.reads) touch();
      if (answer.rows.length > 0 || command.reads || answer.text?.includes("\n")) setState({ answer });
      else {
        say(answer.text || t("form.done"));
        close();
      }
    } catch (error) {
      setState({ error });
      const at = args.findIndex((arg) => arg.name === error.argument);
      if (at >= 0) form.current.querySelectorAll(".field input, .field select, .field textarea")[at]?.focus();
    }
  };
  return (
    <Dialog title={<>{named(command)}{about.map((one, i) => <span key={i}> · <bdi>{one}</bdi></span>)}</>} close={close}>
      <p className="doc" lang={command.langs.doc}>{command.doc}</p>
      {state.answer ? (
        <>
          {state.answer.text?.includes("\n") ? <pre className="said" role="status" tabIndex={0}>{visible(state.answer.text)}</pre>
            : <p role="status">{state.answer.next !== undefined ? t("form.more") : plain(state.answer.text, rows.commands) || t("form.done")}</p>}
          {state.answer.rows.length === 1 ? <Facts command={command} row={state.answer.rows[0]} />
            : command.columns.length > 0 && <Rows command={command} rows={state.answer.rows} bound={bound} />}
          <p className="buttons"><button type="button" onClick={close} autoFocus>{t("app.close")}</button></p>
        </>
      ) : (
        <form ref={form} onSubmit={send}>
          {args.map((arg) => (
            <Field key={arg.name} arg={arg} value={values[arg.name]} wrong={state.error?.argument === arg.name}
              change={(value) => change(arg.name, value)} />
          ))}
          {command.asks && <p className="asks" lang={command.langs.asks}>{command.asks}</p>}
          <Losses command={command} bound={bound} />
          {state.error?.status === 412
            ? <p className="problem" role="alert">{t(sent.current.length > 0 ? "form.unknown" : "form.changed")} <button type="button" onClick={showThere}>{t("form.read-again")}</button></p>
            : <Problem error={state.error} />}
          {state.busy && command.job && <Progress command={command} />}
          {state.count && <p role="status">{t("form.lines", state)}</p>}
          <p className="buttons">
            <button type="submit" className={command.asks ? "danger" : "main"} disabled={state.busy}>
              {t(command.asks ? "form.danger" : "form.run")}
            </button>
            <button type="button" onClick={close}>{t("form.cancel")}</button>
          </p>
        </form>
      )}
    </Dialog>
  );
}
