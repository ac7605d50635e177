/* console: sessions of administrators at the console and the API, by a cookie. They are in memory:
 * a restart ends them. A session knows its secret by a hash only. It ends when it was not used for
 * console.idle, at console.session-time after the login, by a logout or `admin end-session`, and at
 * once when the role, the password or the state of its administrator changes. Each use looks at the
 * role as it is then (ops/access.h), so no event can be missed.
 *
 * One table for the process, any thread. Limits: CONSOLE_SESSIONS_MAX, and CONSOLE_EACH_MAX of one
 * name; one more ends that which was not used for the longest time. */
#pragma once
#include "base/principal.h"

struct feature;
struct setting;
struct worker;

enum {
    CONSOLE_SESSIONS_MAX = 1000,
    CONSOLE_EACH_MAX = 20,
    CONSOLE_SECRET_BYTES = 32,
    CONSOLE_SECRET_TEXT = 2 * CONSOLE_SECRET_BYTES,
    CONSOLE_ID_TEXT = 8,
    CONSOLE_NAME_MAX = 3071, /* of an account */
    CONSOLE_HOST_MAX = 255
};

struct console_view {
    char id[CONSOLE_ID_TEXT + 1]; /* by which it is listed and ended */
    char csrf[CONSOLE_SECRET_TEXT + 1];
    slice name;
    uint64_t expires_us; /* wall clock: when it ends if it is used until then */
    bool proven;         /* a command may run that needs the password: console_spend() */
    unsigned must;       /* bits of enum console_must: what its owner has to do first */
};

/* A login with the right password that lacks something opens a session that can do nothing but
 * that, and ends after CONSOLE_LIMITED_MS: admin/api/api_self.c. */
enum console_must {
    CONSOLE_MUST_FACTOR = 1,  /* to make a second factor */
    CONSOLE_MUST_PASSWORD = 2 /* to change the password */
};
enum { CONSOLE_LIMITED_MS = 15 * 60 * 1000 };

/* Taken before the password of a login is read: another one when the session opens means that the
 * password, or what ends sessions otherwise, is another one since. */
struct console_age {
    int64_t generation, ends;
};
struct console_age console_age(slice name);
/* For a name that has just logged in. host: what the browser asked for; the session is only good
 * there. false: the name has no role, it changed since `age`, or the host is too long. */
struct console_login {
    slice name, host, from;
    struct console_age age;
    unsigned must;
};
bool console_open(const struct console_login *l, char secret[CONSOLE_SECRET_TEXT + 1]);
/* Of a request with this secret. uses: it is not idle then. Fills the principal, whose texts are in
 * the arena; that of a limited session has no permission. E_AUTH: there is no such session, or it
 * has ended. */
NODISCARD enum err console_find(slice secret, slice host, struct arena *arena, bool uses,
                                struct principal *who, struct console_view *out);
void console_prove(slice secret); /* its password was given again */
/* Before each command that needs the password: whether it was given within console.confirm-time, or
 * was given again for this command, the first one since. */
bool console_spend(slice secret);
bool console_end(slice secret); /* false: there is no such session */
/* All of a name, on all nodes. */
void console_end_name(struct worker *w, slice name);

/* Role and grants of an account or an administrator, and a number that changes when it must log in
 * again. false: it may not log in. */
bool console_role(slice name, struct arena *arena, struct principal *out, int64_t *generation);
/* A name as it is stored: the prepared bare JID of an account, or the name of an administrator.
 * false: it can be neither. */
bool console_name(slice text, struct arena *arena, slice *out);
/* "console:NAME" and, where it is not empty, "/SESSION". */
slice console_actor(struct arena *arena, slice name, const char *id);

extern struct setting console_banner, console_acknowledge;
extern const struct feature console_feature;
