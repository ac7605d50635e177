/* Small parts that all pages share. */
import { createContext, useContext, useEffect, useId, useLayoutEffect, useRef, useState } from "react";
import { hooks, run } from "./api.js";
import { giveBack, takePlace } from "./focus.js";
import { kindOf } from "./rows.js";
import { plain, shown, t, titleOf } from "./text.js";

/* {rows, open(command, bound), say(text), changed}: the rows of the server, a form for a command, a
 * line of news, and a number that grows with each change and when the server is back, so that lists
 * are read again. */
export const Console = createContext(null);
export const useConsole = () => useContext(Console);

export const link = (...parts) => `#/${parts.map(encodeURIComponent).join("/")}`;

/* The address of a user without the client. */
const bare = (jid) => jid.split("/")[0];

/* Words that are names of settings lead to them. */
export function SettingNames({ text }) {
  const { rows } = useConsole();
  const parts = [""]; // texts, and names between them
  text.split(/([\s,;]+)/).forEach((word) => {
    if (rows.settings.has(word.split("@")[0])) parts.push(word, "");
    else parts[parts.length - 1] += word;
  });
  return parts.map((part, i) => (i % 2 === 1 ? <a key={i} href={link("settings", part)}>{part}</a> : part));
}

export function Value({ column, value }) {
  const text = shown(column, value);
  const kind = text !== "" && kindOf(column);
  /* What a user wrote does not turn the direction of what stands beside it. */
  if (kind) return <a href={link(kind, kind === "user" ? bare(value) : value)}><bdi>{text}</bdi></a>;
  return <bdi>{/^settings?$/.test(column.name) && typeof value === "string" ? <SettingNames text={text} /> : text}</bdi>;
}

/* When somebody was at the page. Soon after, what it asks by itself is no use of the session, so that
 * that of an idle person ends (console.idle); later it asks nothing. The first time is a little longer
 * than the pauses between two looks (10 s), so that a look tells of each touch before it. */
const idleSoon = 12000;
const idle = 5 * 60000;
let seen = Date.now();
for (const sign of ["pointermove", "pointerdown", "keydown", "scroll"])
  addEventListener(sign, () => { seen = Date.now(); }, { capture: true, passive: true });
hooks.idle = () => Date.now() - seen > idleSoon;
export const isThere = () => !document.hidden && Date.now() - seen < idle;

const retry = 5000; /* ms until what could not be read is read again */

/* Runs a command for what it tells, again when something has changed, and until the server can read
 * it: a short trouble of the database may be over before anybody asks of it. `old`: what there is answers
 * other arguments, which it was asked for before. */
export function useRun(name, args, options = {}) {
  const { changed } = useConsole();
  const [state, setState] = useState({ rows: null, error: null });
  const [again, setAgain] = useState(0);
  const key = JSON.stringify(args);
  useEffect(() => {
    if (!name) return undefined;
    let current = true, timer;
    const askLater = ({ status }) => { if (status === 503) timer = setTimeout(() => setAgain((n) => n + 1), retry); };
    run(name, args)
      .then((answer) => current && setState({ ...answer, error: null, key }))
      .catch((error) => {
        if (!current) return;
        setState((old) => ({ ...old, error }));
        askLater(error);
      });
    return () => { current = false; clearTimeout(timer); };
  }, [name, key, again, changed]);
  useEffect(() => {
    if (!options.every) return undefined;
    const look = () => isThere() && setAgain((n) => n + 1);
    const timer = setInterval(look, options.every);
    document.addEventListener("visibilitychange", look);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", look);
    };
  }, [options.every]);
  return { ...state, old: state.key !== key, reload: () => setAgain((n) => n + 1) };
}

/* A form's error that says the server or its database is away ends when it is back. */
export function useClearedError(error, clear) {
  const { changed } = useConsole();
  useEffect(() => {
    if (error?.status === 0 || error?.status === 503) clear();
  }, [changed]);
}

export function Problem({ error }) {
  const commands = useContext(Console)?.rows.commands; /* nobody is logged in yet */
  return error ? <p className="problem" role="alert">{error.status === 0 ? t("app.away") : plain(error.message, commands)}</p> : null;
}

/* Shows a dialog while its part is drawn. The browser gives the focus back to what had it, if the
 * dialog is closed before it is taken out of the page: an effect of useEffect would come too late. If
 * that is gone or disabled, giveBack() finds what comes next. */
export function useModal() {
  const box = useRef(null);
  useLayoutEffect(() => {
    const dialog = box.current, place = takePlace();
    dialog.showModal();
    dialog.querySelector("input, select, textarea")?.focus();
    return () => {
      dialog.close();
      giveBack(place);
    };
  }, []);
  return box;
}

/* A modal dialog of the browser: it keeps the focus, which begins in its first field, and ends with
 * Escape, or when another page comes. */
export function Dialog({ title, close, children }) {
  const box = useModal();
  const id = useId();
  /* One listener throughout: the page is drawn anew before the event comes here, and one that is
   * added then does not get it. */
  const end = useRef(close);
  end.current = close;
  useEffect(() => {
    const left = () => end.current();
    addEventListener("hashchange", left);
    return () => removeEventListener("hashchange", left);
  }, []);
  return (
    <dialog ref={box} aria-labelledby={id} onCancel={(event) => { event.preventDefault(); close(); }}>
      <header>
        <h2 id={id}>{title}</h2>
        <button type="button" className="quiet" onClick={close} aria-label={t("app.close")}>✕</button>
      </header>
      {children}
    </dialog>
  );
}

/* Names and values of one row. */
export function Facts({ command, row, children }) {
  return (
    <dl className="facts">
      {command.columns.filter((column) => row[column.name] !== undefined).map((column) => (
        <div key={column.name}>
          <dt title={column.doc}>{titleOf(column)}</dt>
          <dd>{row[column.name] === "" ? "–" : <Value column={column} value={row[column.name]} />}</dd>
        </div>
      ))}
      {children}
    </dl>
  );
}

/* Tabs, of which one shows; with the keys of the ARIA pattern. */
/* A state that is there again when one comes back to the page, or loads it anew. */
export function useKept(name, begin) {
  const [value, setValue] = useState(history.state?.[name] ?? begin);
  const keep = (next) => {
    history.replaceState({ ...history.state, [name]: next }, "");
    setValue(next);
  };
  return [value, keep];
}

export function Tabs({ title, tabs, children }) {
  const [at, setAt] = useKept("tab", 0);
  const id = useId();
  const now = Math.min(at, tabs.length - 1);
  const go = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = (now + step + tabs.length) % tabs.length;
    setAt(next);
    event.currentTarget.children[next].focus();
  };
  if (tabs.length === 0) return null;
  return (
    <>
      {tabs.length > 1 && (
        <div role="tablist" aria-label={title} className="tabs" onKeyDown={go}>
          {tabs.map((tab, i) => (
            <button key={tab.name} type="button" role="tab" id={`${id}${i}`} aria-selected={i === now}
              aria-controls={`${id}panel`} tabIndex={i === now ? 0 : -1} onClick={() => setAt(i)}>
              {tab.name}
            </button>
          ))}
        </div>
      )}
      <div {...(tabs.length > 1 && { role: "tabpanel", id: `${id}panel`, "aria-labelledby": `${id}${now}` })}>
        {children(tabs[now])}
      </div>
    </>
  );
}

/* The browser saves it as a file. */
export function saveFile(name, blob) {
  const at = document.createElement("a");
  at.href = URL.createObjectURL(blob);
  at.download = name;
  at.click();
  setTimeout(() => URL.revokeObjectURL(at.href), 10000);
}
