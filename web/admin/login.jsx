/* Logging in: with name and password where the server has that, else with an access token. */
import { useEffect, useState } from "react";
import { changePassword, confirmFactor, confirmPassword, logIn, loginPage, logInWithToken, makeFactor } from "./api.js";
import { Dialog, Problem } from "./parts.jsx";
import { choose, language, languages, missing } from "./language.js";
import { t } from "./text.js";

/* `chosen()`: another one holds. While its file is on the way the list shows it already. */
export function Languages({ chosen }) {
  const [next, setNext] = useState(null);
  const change = async (code) => {
    setNext(code);
    await choose(code);
    setNext((now) => (now === code ? null : now));
    chosen();
  };
  return (
    <select aria-label={t("app.language")} value={next ?? language()} onChange={(event) => change(event.target.value)}>
      {Object.entries(languages).map(([code, name]) => <option key={code} value={code} lang={code}>{name}</option>)}
    </select>
  );
}

/* That the language is not the one that was asked for. */
export const Missing = () => missing() && <p className="problem" role="alert">{t("app.no-language", { name: languages[missing()] })}</p>;

function Input({ name, label, type = "password", value, change, autoFocus, complete = "off" }) {
  return (
    <div className="field">
      <label htmlFor={name}>{label}</label>
      <input id={name} name={name} type={type} required value={value} autoFocus={autoFocus} autoComplete={complete}
        autoCapitalize="none" spellCheck={false} onChange={(event) => change(event.target.value)} />
    </div>
  );
}

/* A form of the login that sends one thing: `act` resolves when the server has taken it. */
function Step({ title, act, go, children }) {
  const [state, setState] = useState({});
  const send = async (event) => {
    event.preventDefault();
    setState({ busy: true });
    try {
      await act();
      setState({});
    } catch (error) {
      setState({ error });
    }
  };
  return (
    <main className="login">
      <form onSubmit={send}>
        <h1>{title}</h1>
        {children}
        <Problem error={state.error} />
        <p className="buttons"><button type="submit" className="main" disabled={state.busy}>{go}</button></p>
      </form>
    </main>
  );
}

/* The password is too old. */
function NewPassword({ password, next }) {
  const [fields, setFields] = useState({ one: "", two: "" });
  const set = (name) => (value) => setFields({ ...fields, [name]: value });
  const act = async () => {
    if (fields.one !== fields.two) throw new Error(t("login.not-the-same"));
    next(await changePassword({ password, new: fields.one }), fields.one);
  };
  return (
    <Step title={t("login.new-password")} act={act} go={t("login.change")}>
      <p>{t("login.too-old")}</p>
      <Input name="new" label={t("login.new-password")} value={fields.one} change={set("one")} autoFocus complete="new-password" />
      <Input name="new-again" label={t("login.new-again")} value={fields.two} change={set("two")} complete="new-password" />
    </Step>
  );
}

/* The role demands a second factor: its secret, a first code, then the recovery codes. */
function NewFactor({ password, next }) {
  const [made, setMade] = useState(null);
  const [code, setCode] = useState("");
  const [session, setSession] = useState(null);
  const [error, setError] = useState(null);
  useEffect(() => { makeFactor().then(setMade, setError); }, []);
  if (session)
    return (
      <Step title={t("login.recovery")} act={async () => next(session, password)} go={t("login.kept")}>
        <p>{t("login.recovery-why")}</p>
        <ul>{session.recovery_codes.map((one) => <li key={one}><code>{one}</code></li>)}</ul>
      </Step>
    );
  return (
    <Step title={t("login.factor")} act={async () => setSession(await confirmFactor({ code: code.trim() }))} go={t("login.confirm")}>
      <p>{t("login.factor-why")}</p>
      <Problem error={error} />
      {made && <p><code>{made.secret}</code><br /><a href={made.uri}>{t("login.in-app")}</a></p>}
      <Input name="first-code" type="text" label={t("login.first-code")} value={code} change={setCode} autoFocus complete="one-time-code" />
    </Step>
  );
}

export function Login({ over, done, speak }) {
  const [page, setPage] = useState(undefined);
  const [byToken, setByToken] = useState(false);
  const [fields, setFields] = useState({ name: "", password: "", code: "", token: "" });
  const [agreed, setAgreed] = useState(false);
  const [needsCode, setNeedsCode] = useState(false);
  const [must, setMust] = useState([]);
  const [state, setState] = useState({});
  useEffect(() => { loginPage().then(setPage); }, []);
  if (page === undefined) return null;
  const next = async (session, password) => {
    setFields({ ...fields, password });
    setMust(session.must);
    if (session.must.length === 0) await done();
  };
  if (must[0] === "password") return <NewPassword password={fields.password} next={next} />;
  if (must[0] === "totp") return <NewFactor password={fields.password} next={next} />;
  const withToken = byToken || page === null;
  const set = (name) => (value) => setFields({ ...fields, [name]: value });
  const send = async (event) => {
    event.preventDefault();
    setState({ busy: true });
    try {
      if (withToken) done(await logInWithToken(fields.token.trim()));
      else {
        await next(await logIn({ name: fields.name, password: fields.password, acknowledged: agreed, ...(needsCode && { code: fields.code }) }), fields.password);
      }
    } catch (error) {
      if (error.code === "code-required") setNeedsCode(true);
      setState({ error: error.code === "code-required" ? null : error });
    }
  };
  return (
    <main className="login">
      <form onSubmit={send}>
        <h1>{t("login.title")}</h1>
        <Missing />
        {over && <p role="status">{t("login.over")}</p>}
        {page?.banner && <p className="banner">{page.banner}</p>}
        {withToken ? (
          <>
            <Input name="token" label={t("login.token")} value={fields.token} change={set("token")} autoFocus />
            <p><small>{t("login.hint")}</small></p>
          </>
        ) : (
          <>
            <Input name="name" type="text" label={t("login.name")} value={fields.name} change={set("name")} autoFocus complete="username" />
            <Input name="password" label={t("login.password")} value={fields.password} change={set("password")} complete="current-password" />
            {needsCode && <Input name="code" type="text" label={t("login.code")} value={fields.code} change={set("code")} autoFocus complete="one-time-code" />}
          </>
        )}
        {page?.acknowledge && (
          <p><label><input type="checkbox" required checked={agreed} onChange={(e) => setAgreed(e.target.checked)} /> {t("login.agree")}</label></p>
        )}
        <Problem error={state.error} />
        <p className="buttons">
          <button type="submit" className="main" disabled={state.busy}>{t("login.go")}</button>
          {page !== null && <button type="button" className="link" onClick={() => setByToken(!byToken)}>{t(withToken ? "login.with-password" : "login.with-token")}</button>}
          {!over && <Languages chosen={speak} />}
        </p>
      </form>
    </main>
  );
}

/* Before an act that is dangerous; calls back with whether it was confirmed. */
export function Confirm({ done }) {
  const [fields, setFields] = useState({ password: "", code: "" });
  const [needsCode, setNeedsCode] = useState(false);
  const [error, setError] = useState(null);
  const send = async (event) => {
    event.preventDefault();
    event.stopPropagation();
    try {
      await confirmPassword({ password: fields.password, ...(needsCode && { code: fields.code }) });
      done(true);
    } catch (refused) {
      if (refused.code === "code-required") setNeedsCode(true);
      else setError(refused);
    }
  };
  return (
    <Dialog title={t("confirm.title")} close={() => done(false)}>
      <form onSubmit={send}>
        <p>{t("confirm.why")}</p>
        <Input name="again" label={t("login.password")} value={fields.password} complete="current-password"
          change={(password) => setFields({ ...fields, password })} />
        {needsCode && <Input name="code-again" type="text" label={t("login.code")} value={fields.code} complete="one-time-code"
          change={(code) => setFields({ ...fields, code })} />}
        <Problem error={error} />
        <p className="buttons"><button type="submit" className="main">{t("login.go")}</button></p>
      </form>
    </Dialog>
  );
}
