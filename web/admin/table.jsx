/* Lists: the rows of a command, in pages that the server makes where it can, with its own filters. */
import { useEffect, useState } from "react";
import { run } from "./api.js";
import { actsOfLine, filtersOf, isAsked, quickOf, seriesOf } from "./rows.js";
import { Dialog, Facts, Problem, saveFile, SettingNames, useConsole, useKept, useRun, Value } from "./parts.jsx";
import { label, named, plain, shown, t, titleOf } from "./text.js";
import { language, said } from "./language.js";
import { Plot } from "./plot.jsx";

const page = 100; /* rows that are asked for, or drawn, at once */
const csvPages = 100; /* at most so many pages are in one file */

/* Whether the page says it already: an argument that the page gives may have the name of a column
 * that tells something else of each line, as the address of who is blocked. */
const isSaid = (bound, value) => Object.values(bound).includes(value);

/* What a line is called by. */
function nameOf(command, row, bound) {
  const has = command.columns.find(({ name }) => row[name] !== undefined && !isSaid(bound, row[name]));
  const column = has ?? command.columns[0] ?? {};
  return shown(column, row[column.name]);
}

/* What is known of one line, and what can be done with it. */
function Line({ command, row, bound, close }) {
  const { rows, open } = useConsole();
  const acts = actsOfLine(rows, command, row, bound);
  return (
    <Dialog title={<bdi>{nameOf(command, row, bound) || named(command)}</bdi>} close={close}>
      <Facts command={command} row={row} />
      <p className="buttons">
        {acts.map((act) => (
          <button key={act.command.name} type="button" className={act.command.asks ? "danger" : ""}
            title={act.command.brief}
            onClick={() => { close(); open(act.command, act.bound, row); }}>
            {named(act.command)}
          </button>
        ))}
        <button type="button" onClick={close}>{t("app.close")}</button>
      </p>
    </Dialog>
  );
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a ?? "").localeCompare(String(b ?? ""), language(), { numeric: true });
}

/* A text gets room to wrap in: more than a word. */
const longText = 40;
function lookOf(column, value) {
  if (column.type === "timestamp") return "time";
  if (typeof value === "number") return "number";
  return shown(column, value).length > longText ? "long" : "";
}

/* Whether there is more about a line than its columns show. */
const hasMore = (command, acts) => command.columns.some((column) => column.wide) || acts.length > 0;

function LineButtons({ command, row, bound, more }) {
  const { rows: all, open } = useConsole();
  const acts = actsOfLine(all, command, row, bound);
  const name = nameOf(command, row, bound);
  return (
    <>
      {quickOf(command, row, acts).map((act) => (
        <button key={act.command.name} type="button" aria-label={`${named(act.command)}: ${name}`}
          onClick={() => open(act.command, act.bound, row)}>{named(act.command)}</button>
      ))}
      {hasMore(command, acts) && (
        <button type="button" className="quiet" onClick={more} aria-label={`${t("table.acts")}: ${name}`}>⋯</button>
      )}
    </>
  );
}

export function Rows({ command, rows, bound, sortable, wide }) {
  const [line, setLine] = useState(null);
  const [order, setOrder] = useState(null);
  const told = ({ name, apart }) => rows.some((row) => row[name] !== undefined && (wide || !apart || row[name] !== rows[0][name]));
  const columns = command.columns.filter((column) => (wide || !column.wide) && told(column) && !rows.every((row) => isSaid(bound, row[column.name])));
  const sorted = order ? [...rows].sort((a, b) => order.sign * compare(a[order.by], b[order.by])) : rows;
  if (rows.length === 0) return <p>{t("table.empty")}</p>;
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label={named(command)}>
      <table role="table">
        <thead role="rowgroup">
          <tr role="row">
            {columns.map((column) => {
              const by = order?.by === column.name ? order.sign : 0;
              const title = titleOf(column);
              return (
                <th key={column.name} scope="col" role="columnheader" title={column.doc} aria-sort={by ? (by > 0 ? "ascending" : "descending") : undefined}>
                  {sortable ? (
                    <button type="button" className="sort" aria-label={t("table.sort", { name: title })}
                      onClick={() => setOrder({ by: column.name, sign: by > 0 ? -1 : 1 })}>
                      {title}{by ? (by > 0 ? " ↑" : " ↓") : ""}
                    </button>
                  ) : title}
                </th>
              );
            })}
            <td role="cell" className="acts" />
          </tr>
        </thead>
        <tbody role="rowgroup">
          {sorted.map((row, i) => (
            <tr key={i} role="row">
              {columns.map((column) => (
                <td key={column.name} role="cell" data-name={titleOf(column)} className={lookOf(column, row[column.name])}>
                  <Value column={column} value={row[column.name]} />
                </td>
              ))}
              <td role="cell" className="acts"><LineButtons command={command} row={row} bound={bound} more={() => setLine(row)} /></td>
            </tr>
          ))}
        </tbody>
      </table>
      {line && <Line command={command} row={line} bound={bound} close={() => setLine(null)} />}
    </div>
  );
}

function Filters({ args, values, change }) {
  return args.map((arg) => {
    const set = (value) => change({ ...values, [arg.name]: value });
    const title = label(arg.name);
    if (arg.kind === "flag")
      return (
        <label key={arg.name} title={arg.doc}>
          <input type="checkbox" checked={values[arg.name] === true} onChange={(e) => set(e.target.checked)} /> {title}
        </label>
      );
    if (arg.choices)
      return (
        <label key={arg.name} title={arg.doc}>
          {title}{" "}
          <select value={values[arg.name] ?? ""} onChange={(e) => set(e.target.value)}>
            <option value="">{t("table.any")}</option>
            {arg.choices.map((choice) => <option key={choice} value={choice}>{said(choice)}</option>)}
          </select>
        </label>
      );
    return (
      <label key={arg.name} title={arg.doc}>
        {title} <input type="search" required={arg.needed} value={values[arg.name] ?? ""} onChange={(e) => set(e.target.value)} />
      </label>
    );
  });
}

/* A text that begins with one of these would be a formula in a spreadsheet. */
const cell = (text) => `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;

async function saveCsv(command, args) {
  const lines = [command.columns.map((column) => cell(column.name)).join(",")];
  let after;
  for (let i = 0; i < csvPages; i++) {
    const answer = await run(command.name, { ...args, ...(command.pages && { limit: 1000, after }) });
    for (const row of answer.rows)
      lines.push(command.columns.map((column) => cell(String(row[column.name] ?? ""))).join(","));
    after = answer.next;
    if (after === undefined) break;
  }
  saveFile(`${command.name.replaceAll(" ", "-")}.csv`, new Blob([lines.join("\r\n"), "\r\n"], { type: "text/csv" }));
}

/* A value that waits until typing has paused. */
function useSettled(value) {
  const [settled, setSettled] = useState(value);
  const key = JSON.stringify(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), 250);
    return () => clearTimeout(timer);
  }, [key]);
  return settled;
}

const given = (values) => Object.fromEntries(Object.entries(values).filter(([, value]) => value !== "" && value !== false));

export function List({ command, bound = {}, plot }) {
  const { rows: all, say } = useConsole();
  const [filters, setFilters] = useKept(`${command.name} filters`, {});
  const [turned, setTurned] = useKept(`${command.name} turned`, []); /* {after, first}: pages behind the first, to this one */
  const [find, setFind] = useKept(`${command.name} find`, "");
  const [most, setMost] = useState(page);
  const [wide, setWide] = useState(false);
  const args = { ...given(useSettled(filters)), ...bound };
  const { after, first } = turned[turned.length - 1] ?? { first: 1 };
  const paged = command.pages && { limit: page, ...(after !== undefined && { after }) };
  const asked = isAsked(command);
  const [sent, setSent] = useState(null); /* with what it was asked for */
  const begin = sent && { ...sent, ...(after !== undefined && { after }) };
  const { rows, text, next, incomplete, error, old, reload } = useRun(asked && !sent ? null : command.name, asked ? begin : { ...args, ...paged });
  const send = (event) => {
    event.preventDefault();
    setTurned([]);
    setSent({ ...given(filters), ...bound, ...(command.pages && { limit: page }) });
    if (sent) reload();
  };
  const found = (rows || []).filter((row) => find === "" || command.columns.some((column) =>
    shown(column, row[column.name]).toLowerCase().includes(find.toLowerCase())));
  const change = (values) => { setFilters(values); setTurned([]); };
  const said = next === undefined ? plain(text ?? "", all.commands) : incomplete ? t("table.incomplete") : "";
  const turn = () => old || setTurned([...turned, { after: next, first: first + rows.length }]);
  const count = () => (turned.length > 0 || next !== undefined) && rows.length > 0
    ? t("table.range", { from: first, to: first + rows.length - 1 }) : t("table.rows", { n: found.length });
  return (
    <section>
      <form className="tools" onSubmit={asked ? send : (event) => event.preventDefault()}>
        <Filters args={filtersOf(command, bound)} values={filters} change={change} />
        {asked && <button type="submit" className="main">{t("table.show")}</button>}
        {!command.pages && (rows || []).length > 10 && (
          <label>{t("table.find")} <input type="search" value={find} onChange={(e) => setFind(e.target.value)} /></label>
        )}
        {command.columns.some((column) => column.wide) && (
          <label><input type="checkbox" checked={wide} onChange={(e) => setWide(e.target.checked)} /> {t("table.all")}</label>
        )}
        {!asked && <button type="button" onClick={reload}>{t("table.reload")}</button>}
        <button type="button" onClick={(event) => event.currentTarget.form.reportValidity() && saveCsv(command, args).catch((e) => say(e.message))}>{t("table.csv")}</button>
      </form>
      <Problem error={error} />
      {plot && rows && rows.length > 1 && <Plot series={seriesOf(rows, plot)} name={named(command)} unit={t(plot.unit)} />}
      {rows === null ? !error && <p>{t(asked && !sent ? "table.asked" : "app.loading")}</p>
        : command.columns.length === 0 ? <p className="said">{said || t("form.done")}</p>
          : command.record && rows.length === 1 ? <Facts command={command} row={rows[0]} />
            : <Rows command={command} rows={found.slice(0, most)} bound={bound} sortable={!command.pages} wide={wide} />}
      <p className="buttons" role="status">
        {rows && command.columns.length > 0 && !command.record && !old && count()}
        {said && command.columns.length > 0 && <span><SettingNames text={said} /></span>}
        {found.length > most && <button type="button" onClick={() => setMost(most + 5 * page)}>{t("table.more")}</button>}
        {turned.length > 0 && <button type="button" onClick={() => setTurned([])}>{t("table.first")}</button>}
        {turned.length > 0 && <button type="button" onClick={() => setTurned(turned.slice(0, -1))}>{t("table.previous")}</button>}
        {next !== undefined && <button type="button" onClick={turn}>{t("table.next")}</button>}
      </p>
    </section>
  );
}
