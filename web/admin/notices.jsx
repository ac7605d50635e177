/* What stands above every page: the text that was read before the login, until it is closed; that the
 * server or its database is away, a change of settings that waits for its confirmation, and a restart
 * that is needed, while that holds. */
import { useEffect, useState } from "react";
import { loginPage, run, serverNow } from "./api.js";
import { Missing } from "./login.jsx";
import { useConsole, useRun } from "./parts.jsx";
import { shown, t } from "./text.js";

const pause = 10000; /* between two looks, ms */
const grace = 1000; /* that the server has to take a change back */

/* Minutes and seconds until then by the clock of the server: drawn each second, and at once when the
 * page is seen again, since timers rest while it is not. */
function useRest(until) {
  const [, draw] = useState(0);
  useEffect(() => {
    if (!until) return undefined;
    const tick = () => draw((n) => n + 1);
    const timer = setInterval(tick, 1000);
    document.addEventListener("visibilitychange", tick);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", tick);
    };
  }, [until]);
  const rest = Math.max(0, Math.round((Date.parse(until) - serverNow()) / 1000));
  return `${Math.floor(rest / 60)}:${String(rest % 60).padStart(2, "0")}`;
}

/* Looks when that time has passed, and does `act` when nothing waits for it any more, for whatever
 * reason: then other values apply. */
function useOver(until, look, act) {
  useEffect(() => {
    if (!until) return undefined;
    const timer = setTimeout(look, Math.max(0, Date.parse(until) - serverNow()) + grace);
    return () => {
      clearTimeout(timer);
      act();
    };
  }, [until]);
}

function Unconfirmed() {
  const { rows, touch, say } = useConsole();
  const has = rows.commands.has("config history");
  const { rows: found, reload } = useRun(has ? "config history" : null, { limit: 1 }, { every: pause });
  const newest = found?.[0]?.state === "waits" ? found[0] : null;
  useOver(newest?.until, reload, touch);
  const rest = useRest(newest?.until);
  if (!newest) return null;
  const { version } = newest; // another one may wait by now
  const act = (name, seen) => () => run(name, seen).then((answer) => say(answer.text), (error) => say(error.message)).then(touch);
  return (
    <section className="card wide candidate" aria-label={t("settings.waits")}>
      <p role="alert">{t("settings.unconfirmed", { version, who: newest.who, at: shown({ type: "timestamp" }, newest.until) })}</p>
      <p className="figure" role="timer">{rest}</p>
      <p className="buttons">
        {rows.commands.has("config confirm") && <button type="button" className="main" onClick={act("config confirm", { version })}>{t("settings.confirm")}</button>}
        {rows.commands.has("config rollback") && <button type="button" onClick={act("config rollback", { waits: version })}>{t("settings.back")}</button>}
      </p>
    </section>
  );
}

function Restart() {
  const { rows, open } = useConsole();
  const { rows: found } = useRun(rows.commands.has("status") ? "status" : null, {}, { every: pause });
  const needed = found?.[0]?.restart_needed;
  const restart = rows.commands.get("server restart");
  if (!needed || needed === "no") return null;
  return (
    <section className="card wide candidate" aria-label={t("notice.restart")}>
      <p>{t("notice.needed", { why: needed })}</p>
      {restart && <p className="buttons"><button type="button" onClick={() => open(restart)}>{t("notice.restart")}</button></p>}
    </section>
  );
}

/* After each login anew. */
function Banner({ locked }) {
  const [text, setText] = useState(null);
  useEffect(() => { if (!locked) loginPage().then((page) => setText(page?.banner)); }, [locked]);
  if (!text) return null;
  return (
    <section className="card wide" aria-label={t("notice.banner")}>
      <p className="banner" tabIndex={0}>{text}</p>
      <p className="buttons"><button type="button" onClick={() => setText(null)}>{t("app.close")}</button></p>
    </section>
  );
}

export function Notices({ away, locked }) {
  return (
    <>
      <Banner locked={locked} />
      {away && <p className="problem away" role="alert">{away.why ? t("app.waits", away) : t("app.away")}</p>}
      <Missing />
      <Unconfirmed />
      <Restart />
    </>
  );
}
