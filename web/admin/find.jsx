/* Search over everything: pages, commands, settings, users and rooms. */
import { useEffect, useState } from "react";
import { kinds } from "./pages.js";
import { Dialog, link, useConsole, useRun } from "./parts.jsx";
import { nearest } from "./rows.js";
import { named, placed, t } from "./text.js";

const most = 8; /* of each sort */

function useLater(value) {
  const [later, setLater] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setLater(value), 250);
    return () => clearTimeout(timer);
  }, [value]);
  return later;
}

/* Users or rooms whose address has this text; the server looks. */
function useThings(kind, list, text) {
  const { rows } = useConsole();
  const wanted = text.length >= 2 && rows.commands.has(list) && rows.commands.has(kinds[kind].show);
  const { rows: found } = useRun(wanted ? list : null, { filter: text, limit: most + 1 });
  return wanted ? (found || []).map(({ jid }) => ({ title: jid, about: t(`kind.${kind}`), to: link(kind, jid) })) : [];
}

export function Find({ pages, close }) {
  const { rows, open } = useConsole();
  const [text, setText] = useState("");
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (...parts) => words.every((word) => parts.join(" ").toLowerCase().includes(word));
  const later = useLater(text.trim());
  const users = useThings("user", "user list", later);
  const rooms = useThings("room", "room list", later);
  const parts = words.length === 0 ? [] : [
    pages.filter((page) => fits(t(`page.${page.id}`))).map((page) => ({ title: t(`page.${page.id}`), about: t("find.page"), to: link(page.id) })),
    users, rooms,
    nearest(rows.list.filter((command) => fits(command.name, named(command), command.brief)), text)
      .map((command) => ({ title: placed(command), about: `${command.name}: ${command.brief}`, command })),
    nearest([...rows.settings.values()].filter((setting) => fits(setting.name, setting.doc)), text)
      .map((setting) => ({ title: setting.name, about: setting.doc, to: link("settings", setting.name) })),
  ];
  const found = parts.flatMap((part) => part.slice(0, most));
  const more = parts.some((part) => part.length > most);
  return (
    <Dialog title={t("find.title")} close={close}>
      <div className="field">
        <label htmlFor="find">{t("find.what")}</label>
        <input id="find" type="search" value={text} onChange={(event) => setText(event.target.value)} />
      </div>
      <p role="status">{words.length > 0 && t(more ? "find.more" : "find.count", { n: found.length })}</p>
      <ul className="commands">
        {found.map(({ title, about, to, command }) => (
          <li key={to ?? command.name}>
            {to ? <a href={to} onClick={close}>{title}</a>
              : <button type="button" className="link" onClick={() => { close(); open(command); }}>{title}</button>}{" "}
            <span>{about}</span>
          </li>
        ))}
      </ul>
    </Dialog>
  );
}
