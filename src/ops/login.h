/* login: whether somebody may open a session of the console: an account that has a role, or an
 * administrator of ops/administrators.h, with the password and, where there is one, the second
 * factor. Who asks learns only at the end, and only with the right password, what is missing: an
 * unknown name, a wrong password, one without role and one that is disabled look the same.
 *
 * On the worker of the caller, who keeps the struct and what it borrows until `done`. */
#pragma once
#include "auth/password_job.h"
#include "ops/console.h"

enum login_result {
    LOGIN_OK,
    LOGIN_WRONG,
    LOGIN_LOCKED,        /* the same to the client; this name is refused from everywhere now */
    LOGIN_REFUSED,       /* the same to the client: nothing was compared */
    LOGIN_CODE_NEEDED,   /* the password was right */
    LOGIN_FACTOR_NEEDED, /* the same, and its role demands a second factor, which it has not */
    LOGIN_PASSWORD_OLD,  /* the same, and the code, if it has one; but it must be changed */
    LOGIN_FACTOR_UNREAD, /* the same, and it has one whose secret cannot be decrypted */
    LOGIN_AGAIN,         /* too many wait, or the database is away */
    LOGIN_RESULTS
};

struct login {
    struct worker *worker;
    struct arena *arena;
    slice name, password;
    slice code;         /* of the second factor, or a recovery code; empty: none */
    bool password_only; /* of who has a session: nothing else is looked at */
    const struct sockaddr *peer;
    void (*done)(struct login *l); /* once, later or at once */
    enum login_result result;
    struct console_age age; /* of the name when it began: for console_open() */
    /* inside */
    struct throttle_try try;
    struct password_job job;
    struct scram_keys keys;
    bool old; /* its password must be changed */
};
void login_begin(struct login *l);
/* Duties of its owner before all else: bits of enum console_must. */
unsigned login_must(slice name, slice role);

extern const struct feature login_feature;
