/* err: the one error vocabulary. A function that may fail returns `enum err`, marked NODISCARD;
 * what cannot fail returns void; a question returns bool. Translations to stanza errors, exit
 * codes and HTTP live at the edges. */
#pragma once

#define NODISCARD __attribute__((warn_unused_result))

enum err {
    OK = 0,
    E_AGAIN,       /* not now; nothing was changed; try later */
    E_EOF,         /* the peer has ended orderly */
    E_LIMIT,       /* a stated maximum would be exceeded */
    E_PROTO,       /* the peer broke the protocol */
    E_SYNTAX,      /* malformed input: XML, JID, YAML, a value */
    E_AUTH,        /* credentials are wrong or missing */
    E_DENIED,      /* known, but not allowed */
    E_NOTFOUND,    /* no such thing */
    E_EXISTS,      /* there already is one */
    E_CONFLICT,    /* lost against another change, or an expected row count was not met */
    E_TIMEOUT,     /* a deadline passed; the outcome may be unknown */
    E_CANCELED,    /* given up by its owner */
    E_IO,          /* the operating system refused */
    E_FULL,        /* the disk or the database is full */
    E_DOWN,        /* a service that is needed is not there */
    E_CORRUPT,     /* stored data is damaged */
    E_UNSUPPORTED, /* known, but not offered */
    E_INTERNAL,    /* our own mistake, noticed in time */
    ERR_COUNT
};

const char *err_name(enum err e); /* "E_LIMIT" without the E_, lower case: "limit" */
const char *err_text(enum err e); /* a sentence for a person */

/* why: a bounded sentence for operators, the last output of configuration, migration and start
 * functions. It names what was found, what is allowed and what to do next. */
struct why {
    char text[512];
};
void why_set(struct why *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
