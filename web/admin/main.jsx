/* The console: who is logged in, the menu, and the page that the address names. */
import { Component, useCallback, useEffect, useId, useMemo, useRef, useState } from "react";
import { createRoot } from "react-dom/client";
import { ask, byToken, hooks, logOut, resume, run } from "./api.js";
import { Console, Facts, link, Problem, Tabs, useConsole, useModal, useRun } from "./parts.jsx";
import { groupsOfActs, pagesOf, partsOf, partsOfThing, readRows } from "./rows.js";
import { kinds, listed, renamed, useless } from "./pages.js";
import { CommandForm } from "./form.jsx";
import { Find } from "./find.jsx";
import { Notices } from "./notices.jsx";
import { Confirm, Languages, Login } from "./login.jsx";
import { Dashboard } from "./dashboard.jsx";
import { Photo } from "./photo.jsx";
import { Governing, Settings } from "./settings.jsx";
import { Tail } from "./logs.jsx";
import { begin, language } from "./language.js";
import { List } from "./table.jsx";
import { named, person, t, visible, zone } from "./text.js";

const views = { dashboard: Dashboard, settings: Settings, logs: Tail };

function readAddress() {
  const parts = location.hash.replace(/^#\/?/, "").split("/");
  try {
    return parts.map(decodeURIComponent);
  } catch {
    return [""];
  }
}

function useAddress() {
  const [parts, setParts] = useState(readAddress);
  useEffect(() => {
    const changed = () => setParts(readAddress());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return parts;
}

/* The heading gets the focus when the page changes, so that a screen reader says where it is. */
function Heading({ text, children }) {
  const head = useRef(null);
  useEffect(() => {
    document.title = `${text} · ${t("app.title")}`;
    head.current.focus();
  }, [text]);
  return <div className="head"><h1 ref={head} tabIndex={-1}>{text}</h1><p className="buttons">{children}</p></div>;
}

const Button = ({ command, bound, start }) => {
  const { open } = useConsole();
  return (
    <button type="button" className={command.asks ? "danger" : ""} title={command.brief} onClick={() => open(command, bound, start)}>
      {named(command)}
    </button>
  );
};

/* All that a page has, so that no command is out of reach. */
function Everything({ commands, local, title, open: begin }) {
  const { open } = useConsole();
  if (commands.length + local.length === 0) return null;
  return (
    <details open={begin}>
      <summary>{title}</summary>
      <ul className="commands">
        {commands.map((command) => (
          <li key={command.name}>
            <button type="button" className="link" onClick={() => open(command)}>{named(command)}</button> <span lang={command.langs.brief}>{command.brief}</span>
          </li>
        ))}
      </ul>
      {local.length > 0 && <h2>{t("page.local")}</h2>}
      <ul className="commands">
        {local.map((command) => <li key={command.name}><code>musterctl {command.name}</code> <span lang={command.langs.brief}>{command.brief}</span></li>)}
      </ul>
    </details>
  );
}

function Page({ page, about }) {
  const { lists, often, others } = partsOf(page);
  const View = views[page.view];
  const left = page.view === "dashboard" ? lists.filter((list) => list.name !== "status") : lists;
  const tabs = (page.view === "settings" ? left.filter((list) => !["config show", "config diff"].includes(list.name)) : left)
    .map((command) => ({ name: named(command), command }));
  if (page.view === "settings") tabs.unshift({ name: t("settings.all") });
  return (
    <>
      <Heading text={t(`page.${page.id}`)}>{often.map((command) => <Button key={command.name} command={command} />)}</Heading>
      {View && page.view !== "settings" && <View />}
      {page.settings && <Governing names={page.settings} />}
      <Tabs title={t("page.lists")} tabs={tabs}>
        {(tab) => tab.command
          ? <>{View && tabs.length === 1 && <h2>{tab.name}</h2>}<p className="doc" lang={tab.command.langs.doc}>{tab.command.doc}</p><List key={tab.command.name} command={tab.command} plot={page.plots?.[tab.command.name]} /></>
          : <Settings key={about} about={about} />}
      </Tabs>
      <Everything title={t("page.all")} commands={others} local={page.local} open={tabs.length === 0} />
    </>
  );
}

/* The commands among these that would change nothing, since no list has the thing (listed). A list
 * that cannot be read says nothing of it. */
function useUnlisted(acts, name) {
  const { rows, changed } = useConsole();
  const asked = acts.map(({ command }) => command.name).filter((act) => rows.commands.has(listed[act]?.[0]));
  const [none, setNone] = useState(asked);
  useEffect(() => {
    let current = true;
    const lacks = async (act) => {
      const [list, column, fits = () => true] = listed[act];
      return !(await run(list)).rows.some((row) => row[column] === name && fits(row));
    };
    Promise.all(asked.map((act) => lacks(act).catch(() => false)))
      .then((answers) => current && setNone(asked.filter((_, i) => answers[i])));
    return () => { current = false; };
  }, [asked.join(), name, changed]);
  return none;
}

/* What a group of buttons is called. */
function titleOf(kind, group) {
  if (group === "often") return t("thing.often");
  if (group === "danger") return t("thing.danger");
  return group === kinds[kind].page ? t("thing.more") : t(`page.${group}`);
}

/* The buttons of a thing, in groups. */
function Acts({ kind, acts, start }) {
  const id = useId();
  const whole = ["often", kinds[kind].page, "danger"];
  if (acts.length === 0) return null;
  return (
    <section aria-label={t("thing.acts")} className="card wide groups">
      {groupsOfActs(kind, acts).map(({ group, acts: found }) => (
        <div key={group} role="group" className={whole.includes(group) ? `whole ${group}` : group} aria-labelledby={`${id}${group}`}>
          <h2 id={`${id}${group}`}>{titleOf(kind, group)}</h2>
          <p className="buttons">{found.map((act) => <Button key={act.command.name} {...act} start={start} />)}</p>
        </div>
      ))}
    </section>
  );
}

/* How an account gets another address: nothing that can be done from here. */
function Rename({ name }) {
  const { say } = useConsole();
  const at = name.indexOf("@");
  const line = `musterd --rename ${name} --to NEW${name.slice(at)}`;
  const copy = () => navigator.clipboard.writeText(line).then(() => say(t("rename.copied")), (error) => say(error.message));
  return (
    <details>
      <summary>{t("rename.title")}</summary>
      <p>{t("rename.how")}</p>
      <p><code>{line}</code> <button type="button" onClick={copy}>{t("rename.copy")}</button></p>
    </details>
  );
}

const look = 15000; /* ms between two looks whether a thing is still there */

/* A user, a room, a group or a domain. Nothing can be done with one that a link leads to and that is not
 * there. When one that was there is gone, the list is shown. */
function Thing({ kind, name }) {
  const { rows, say } = useConsole();
  const { show, lists, acts } = useMemo(() => partsOfThing(rows, kind, name), [rows, kind, name]);
  const { rows: found, error } = useRun(show?.command.name, show?.bound ?? {}, { every: look });
  const none = error?.status === 404;
  const gone = none && found !== null;
  useEffect(() => {
    if (!gone) return;
    say(t("thing.gone", { name }));
    location.hash = link(kinds[kind].page);
  }, [gone]);
  const unlisted = useUnlisted(acts, name);
  const useful = ({ command }) => !unlisted.includes(command.name) && !(start && useless[command.name]?.(start));
  const start = show?.command.record && found?.[0];
  const tabs = lists.map((part) => ({ name: named(part.command), part }));
  if (show && !show.command.record) tabs.unshift({ name: named(show.command), part: show });
  return (
    <>
      <Heading text={`${t(`kind.${kind}`)} ${name}`} />
      <p><a href={link(kinds[kind].page)}>← {t(`page.${kinds[kind].page}`)}</a></p>
      <Problem error={error} />
      {start && (
        <section className="card wide">
          {rows.commands.has(kinds[kind].photo) && <Photo command={kinds[kind].photo} name={name} />}
          <Facts command={show.command} row={start} />
        </section>
      )}
      {!none && <>
        <Acts kind={kind} acts={acts.filter(useful)} start={start || {}} />
        {renamed[kind] && rows.commands.has(renamed[kind]) && <Rename name={name} />}
        <Tabs title={t("page.lists")} tabs={tabs}>
          {({ part }) => <List key={part.command.name} command={part.command} bound={part.bound} />}
        </Tabs>
      </>}
    </>
  );
}

function Menu({ pages, now, close }) {
  const groups = [...new Set(pages.map((page) => page.group))];
  return groups.map((group) => (
    <div key={group ?? ""}>
      {group && <h2>{t(`group.${group}`)}</h2>}
      <ul>
        {pages.filter((page) => page.group === group).map((page) => (
          <li key={page.id}><a href={link(page.id)} aria-current={page.id === now ? "page" : undefined} onClick={close}>{t(`page.${page.id}`)}</a></li>
        ))}
      </ul>
    </div>
  ));
}

/* One page that breaks does not take the others with it. */
class Guard extends Component {
  state = { error: null };
  static getDerivedStateFromError(error) { return { error }; }
  render() {
    const { error } = this.state;
    return error ? <p className="problem" role="alert">{t("app.broken", { error: error.message })}</p> : this.props.children;
  }
}

function Shell({ rows, locked, leave, speak }) {
  const address = useAddress();
  const pages = useMemo(() => pagesOf(rows), [rows]);
  const [form, setForm] = useState(null);
  const [news, setNews] = useState("");
  const [changed, setChanged] = useState(0);
  const [away, setAway] = useState(null);
  const [finding, setFinding] = useState(false);
  const [menu, setMenu] = useState(false);
  const touch = useCallback(() => setChanged((n) => n + 1), []);
  const open = useCallback((command, bound, start) => setForm({ command, bound, start, key: Math.random() }), []);
  const say = useCallback((text) => { setNews(text); setTimeout(() => setNews((old) => (old === text ? "" : old)), 8000); }, []);
  const shared = useMemo(() => ({ rows, open, say, touch, changed }), [rows, changed]);
  useEffect(() => {
    hooks.away = (what) => { setAway(what); if (!what) touch(); };
    return () => { hooks.away = () => {}; };
  }, []);
  useEffect(() => { if (!locked) touch(); }, [locked]);
  useEffect(() => { hooks.rights(); }, [address.join("/")]);
  const [id, name] = address[0] ? address : [pages[0]?.id];
  const page = pages.find((one) => one.id === id);
  return (
    <Console.Provider value={shared}>
      <a className="skip" href="#content" onClick={(e) => { e.preventDefault(); document.getElementById("content").focus(); }}>{t("app.skip")}</a>
      <header className="top">
        <button type="button" className="menu" aria-expanded={menu} aria-controls="menu" onClick={() => setMenu(!menu)}>{t("app.menu")}</button>
        <strong>{t("app.title")}</strong>
        <button type="button" onClick={() => setFinding(true)}>{t("find.go")}</button>
        <span>{person(rows.who.actor)}{rows.who.role && ` (${rows.who.role})`}</span>
        <Languages chosen={speak} />
        <button type="button" onClick={leave}>{t("app.logout")}</button>
      </header>
      <nav id="menu" className={menu ? "open" : ""} aria-label={t("app.pages")}>
        <Menu pages={pages} now={kinds[id]?.page ?? id} close={() => setMenu(false)} />
      </nav>
      <main id="content" tabIndex={-1}>
        <Notices away={away} locked={locked} />
        <Guard key={`${rows.who.role}/${kinds[id] ? address.join("/") : id}`}>
          {kinds[id] && name ? <Thing kind={id} name={name} /> : page ? <Page page={page} about={name} /> : <Heading text={t("app.nothing")} />}
        </Guard>
        <p className="zone">{t("app.zone", { zone: zone() })}{!byToken() && <> <a href="../api/v1/">{t("app.api")}</a></>}</p>
      </main>
      <p className={news ? "news" : "news empty"} role="status">{visible(news)}</p>
      {finding && <Find pages={pages} close={() => setFinding(false)} />}
      {form && <CommandForm {...form} close={() => setForm(null)} />}
    </Console.Provider>
  );
}

/* Covers the page, with what has been typed there, until who was logged in is so again. */
function Over({ children }) {
  const box = useModal();
  return <dialog ref={box} className="over" aria-label={t("login.title")} onCancel={(event) => event.preventDefault()}>{children}</dialog>;
}

/* Without the session: "console:root/76c66318". */
const actor = (rows) => rows.who.actor.split("/")[0];
const sameRights = (old, rows) => actor(old) === actor(rows) && old.who.role === rows.who.role;

function App() {
  const [state, setState] = useState({ at: "begin" });
  const [confirm, setConfirm] = useState(null);
  const rights = useRef({}); /* that the rows are for */
  const enter = async (told) => {
    const rows = readRows(told ?? (await ask("GET", "/description")));
    rights.current = { role: rows.who.role };
    setState((old) => ({ at: "in", rows: old.locked && sameRights(old.rows, rows) ? old.rows : rows }));
  };
  const leave = async () => { await logOut(); setState({ at: "out" }); };
  const look = async () => {
    const { role, permissions } = await ask("GET", "/session");
    const before = rights.current, now = permissions.join(" ");
    rights.current = { role, now };
    if (role === before.role && (before.now ?? now) === now) return;
    const rows = readRows(await ask("GET", "/description"));
    setState((old) => (old.at === "in" && actor(old.rows) === actor(rows) ? { ...old, rows } : old));
  };
  useEffect(() => {
    hooks.rights = () => look().catch((error) => error.status === 401 && hooks.expired());
    hooks.expired = () => setState((old) => (old.at === "in" ? { ...old, locked: true } : { at: "out" }));
    hooks.confirm = () => new Promise((resolve) => setConfirm(() => (given) => { setConfirm(null); resolve(given); }));
    resume().then((there) => there && enter()).then((there) => there === false && setState({ at: "out" }), () => setState({ at: "out" }));
  }, []);
  /* What is shown is made anew from the same rows. */
  const speak = () => setState((old) => ({ ...old, ...(old.rows && { rows: readRows(old.rows.told) }) }));
  if (state.at === "begin") return <p>{t("app.loading")}</p>;
  return (
    <>
      {state.at === "in" ? <Shell key={`${actor(state.rows)} ${language()}`} rows={state.rows} locked={state.locked} leave={leave} speak={speak} /> : <Login done={enter} speak={speak} />}
      {state.locked && <Over><Login over done={enter} /></Over>}
      {confirm && <Confirm done={confirm} />}
    </>
  );
}

begin().then(() => createRoot(document.getElementById("root")).render(<App />));
