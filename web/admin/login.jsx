/* Logging in: with name and password where the server has that, else with an access token. */
import { useEffect, useState } from "react";
import { confirmPassword, logIn, loginPage, logInWithToken } from "./api.js";
import { Dialog, Problem } from "./parts.jsx";
import { t } from "./text.js";

function Input({ name, label, type = "password", value, change, autoFocus, complete = "off" }) {
  return (
    <div className="field">
      <label htmlFor={name}>{label}</label>
      <input id={name} name={name} type={type} required value={value} autoFocus={autoFocus} autoComplete={complete}
        autoCapitalize="none" spellCheck={false} onChange={(event) => change(event.target.value)} />
    </div>
  );
}

export function Login({ over, done }) {
  const [page, setPage] = useState(undefined);
  const [byToken, setByToken] = useState(false);
  const [fields, setFields] = useState({ name: "", password: "", code: "", token: "" });
  const [agreed, setAgreed] = useState(false);
  const [needsCode, setNeedsCode] = useState(false);
  const [state, setState] = useState({});
  useEffect(() => { loginPage().then(setPage); }, []);
  if (page === undefined) return null;
  const withToken = byToken || page === null;
  const set = (name) => (value) => setFields({ ...fields, [name]: value });
  const send = async (event) => {
    event.preventDefault();
    setState({ busy: true });
    try {
      if (withToken) done(await logInWithToken(fields.token.trim()));
      else {
        await logIn({ name: fields.name, password: fields.password, acknowledged: agreed, ...(needsCode && { code: fields.code }) });
        await done();
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
        <Input name="again" label={t("login.password")} value={fields.password} autoFocus complete="current-password"
          change={(password) => setFields({ ...fields, password })} />
        {needsCode && <Input name="code-again" type="text" label={t("login.code")} value={fields.code} complete="one-time-code"
          change={(code) => setFields({ ...fields, code })} />}
        <Problem error={error} />
        <p className="buttons"><button type="submit" className="main">{t("login.go")}</button></p>
      </form>
    </Dialog>
  );
}
