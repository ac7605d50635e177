/* err: the error codes of the whole program. A function that may fail returns `enum err` and is
 * marked NODISCARD. One that cannot fail returns void, a test returns bool. Stanza errors, exit
 * codes and HTTP statuses are made from them at the edges. */
#pragma once

#define NODISCARD __attribute__((warn_unused_result))

enum err {
    OK = 0,
    E_AGAIN,       /* not now; nothing was changed; try later */
    E_EOF,         /* the peer has closed the stream in the regular way */
    E_LIMIT,       /* a stated maximum would be exceeded */
    E_PROTO,       /* the peer broke the protocol */
    E_SYNTAX,      /* malformed input: XML, JID, YAML, a value */
    E_AUTH,        /* credentials are wrong or missing */
    E_DENIED,      /* authenticated, but not permitted */
    E_NOTFOUND,    /* no such thing */
    E_EXISTS,      /* there already is one */
    E_CONFLICT,    /* another change came first, or a statement changed an unexpected number of
                    * rows */
    E_TIMEOUT,     /* a deadline passed; the outcome may be unknown */
    E_CANCELED,    /* canceled by its owner */
    E_IO,          /* the operating system refused */
    E_FULL,        /* the disk or the database is full */
    E_DOWN,        /* a service that is needed is not there */
    E_CORRUPT,     /* stored data is damaged */
    E_UNSUPPORTED, /* known, but not offered */
    E_INTERNAL,    /* a bug of the server */
    E_OUTSIDE,     /* somebody else's server failed, refused or cannot be reached */
    E_PART,        /* some of it was done, and the rest was refused */
    ERR_COUNT
};

const char *err_name(enum err e); /* "E_LIMIT" without the E_, lower case: "limit" */
const char *err_text(enum err e); /* a sentence for a person */

/* why: a sentence of bounded length for operators, the last parameter of functions for
 * configuration, migration and start. It says what was found, what is allowed and what to do
 * next. */
struct why {
    char text[512];
};
void why_set(struct why *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
