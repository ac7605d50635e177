/* api, inside: what the files of the API share. */
#pragma once
#include "admin/api/api.h"
#include "base/command.h"
#include "home/command_run.h"
#include "ops/command_late.h"
#include "ops/login.h"

enum { API_PAIRS_MAX = COMMAND_ARGS_MAX + API_PARTS_MAX, API_ETAG_LEN = 51 };

/* One request. */
struct api_job {
    struct http_request *r; /* NULL: its client has gone */
    struct arena *arena;    /* as long as the job */
    struct worker *worker;  /* of the connection */
    struct api_target target;
    enum http_verb method;
    slice names[API_PAIRS_MAX], values[API_PAIRS_MAX]; /* of path and query */
    size_t count;
    slice body; /* JSON, or empty */
    slice if_match, none_match;
    struct command_call call; /* arena NULL: none runs */
    struct command_return ended;
    struct command_late late;
    void (*next)(struct api_job *j); /* what to do when it has ended */
    struct api_job *busy_next;       /* in the list of changes under way */
    slice places[API_PARTS_MAX];     /* of one that is in it: which thing the path names */
    bool busy, created;
    bool blind;           /* who asks may change the thing, and not read it */
    bool by_cursor;       /* the client gave `cursor`, which stands for `after` */
    bool typed;           /* its user typed options: refusals name these */
    bool same;            /* the change was read: all that the body has is as it is */
    struct principal who; /* in the arena */
};

/* api_auth.c: who asks; the texts last until the callback returns. false: it was answered. */
bool api_admit(struct http_request *r, struct principal *who);
/* The part of it that is for everybody: rate of the address, and TLS. false: it was answered. */
bool api_guard(struct http_request *r);
/* Only who asks, and nothing is answered: also later, whether it is still so. E_AUTH: nobody that
 * is known; E_DOWN: it cannot be looked up. */
NODISCARD enum err api_who(struct http_request *r, struct principal *who, struct why *why);

/* api_session.c: requests with a cookie and no token. */
bool api_session_is(const struct http_request *r);
bool api_session_admit(struct http_request *r, struct principal *who); /* as api_admit() */
NODISCARD enum err api_session_who(struct http_request *r, struct principal *who, struct why *why);
union address;
struct api_session_answer {
    unsigned status;
    const struct command_row *codes; /* recovery codes that it shows; NULL: none */
    struct arena *arena;             /* that of the job: the request has no scratch by then */
    slice cookie;                    /* set when it is answered */
};
slice api_session_secret(const struct http_request *r); /* its cookie; ptr NULL: none */
/* As api_session_admit(), but a limited session may be what it is. */
bool api_session_view(struct http_request *r, struct principal *who, struct console_view *v);
/* Ends the session `before` (its secret; empty: none) and opens another, whose secret is text with
 * its NUL. false: console_open() refuses, and nothing is open. */
bool api_session_open(const struct console_login *login, slice before, struct arena *arena,
                      struct principal *who, char secret[CONSOLE_SECRET_TEXT + 1]);
/* Answers with a session that was opened. false: it has ended, and nothing is answered. */
bool api_session_opened(struct http_request *r, const char *secret, struct api_session_answer *a);
void api_session_peer(const struct http_request *r, union address *out);
void api_login_problem(struct http_request *r, enum login_result result); /* not LOGIN_OK */
/* false: it is such a request for a row that needs the password again. */
bool api_session_may(struct http_request *r, const struct command *c, struct arena *arena);
/* The same when the row is run: the password that was given again is then used up. */
bool api_session_spend(const struct http_request *r, const struct command *c);

/* api_answer.c */
struct api_problem {
    unsigned status;
    slice detail;
    const char *error;                 /* err_name(); NULL: none */
    const char *argument;              /* NULL: none */
    const char *code;                  /* what a program does next: "code-required"; NULL: none */
    unsigned methods;                  /* of 405 */
    unsigned retry_s;                  /* 0: not said */
    const struct command_call *report; /* its rows are told, too; NULL: none */
};
void api_problem(struct http_request *r, const struct api_problem *p);
unsigned api_status(enum err e);
/* Whether the request compares an ETag before it does something (RFC 9110 §13.1.1, §13.1.2). A GET
 * with If-None-Match does not: without an ETag it gets all. */
bool api_compares(const struct http_request *r);
/* 412: nothing at this path has an ETag. Names the resource of `c` that has one, if there is one;
 * `c` may be NULL. */
void api_refuse_compare(struct http_request *r, const struct command *c);
/* For paths that are no resources of commands. false: the request compares, and was refused. */
bool api_without_etag(struct http_request *r);
#define API_CURSOR_WRONG                                                                           \
    "cursor: found one that no answer of this list has had, or whose place is gone; allowed "      \
    "`next` of the page before, once"
/* Whether the argument that the call refuses is `after`, and the client gave that as `cursor`. */
bool api_blames_cursor(const struct api_job *j);
/* With members in place of options (base/command_options.h). */
void api_members_named(struct buf *out, const struct command *c, slice text);
/* Text of a call of `c`, with members, unless the client has options. */
slice api_words(const struct api_job *j, const struct command *c, slice text);
void api_failed(struct api_job *j); /* answers with what the call failed with */
void api_succeeded(struct api_job *j);
/* Whether the call has read a thing that is there and has an ETag. */
bool api_is_there(const struct api_job *j);
/* Of what the call has: a quoted text. Its first half is about what does not move. */
void api_etag(const struct command_call *call, char out[API_ETAG_LEN + 1]);
/* Whether If-Match has this tag (RFC 9110 §13.1.1). What moves may have changed, such as who is in
 * a room. */
bool api_etag_lets_change(slice list, const char *etag);

/* Whether a member of a thing changes by itself (struct command_column). */
bool api_moves(const struct command *get, const char *name);
/* api_same.c: members of the body that GET shows and the change does not take. */
#define API_SAME_LIST "items" /* the member that is a list */
/* Whether a member may have that name: an argument of the command that is not in the path. */
bool api_takes(const struct api_target *t, const struct command *c, const char *name);
/* Whether the body has some that `c` does not take. */
bool api_sends_back(const struct api_job *j, const struct command *c);
/* The call has read the thing: takes them out of the body, and sets `same`. E_SYNTAX: one of them
 * is not as it is, which the call's `culprit` names. A caller who may not read the thing is not
 * told what it is like: E_SYNTAX for those that only GET has, and what the change takes is changed.
 */
NODISCARD enum err api_same(struct api_job *j, const struct command *c, struct why *why);
/* Takes out of the body the secrets with which `make` makes the thing and which `c` does not take.
 * *made_of: a body that has them, and what else it must have to be made. false: there are none, and
 * nothing is taken out. */
bool api_same_secrets(struct api_job *j, const struct command *make, const struct command *c,
                      slice *made_of);

bool api_is_json(slice type);     /* of a Content-Type */
extern _Atomic unsigned api_jobs; /* under way in this process */

extern struct setting api_tls_required, api_requests_per_token, api_requests_per_address;

/* api_openapi.c: the document, which the caller frees. */
struct json_t;
struct json_t *api_document(void);
