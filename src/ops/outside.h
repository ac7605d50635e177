/* outside: tests that prove from outside that the server works: imtest, fedtest and pushtest. What
 * each does is in the file that has its command. Here is what they share: the form of the result,
 * one of a kind at a time, the schedule, the last results, alarms, metrics, and the users that they
 * log in as.
 *
 * Their commands run at the home of DUTY_TESTS, and everything here is confined to it.
 *
 * Limits: OUTSIDE_HISTORY results of a kind are kept; one test of a kind is under way. */
#pragma once
#include "base/command.h"
#include "store/store.h"

enum outside_kind { OUTSIDE_IM, OUTSIDE_FEDERATION, OUTSIDE_PUSH, OUTSIDE_KINDS };
enum { OUTSIDE_HISTORY = 30 };

struct arena;
struct feature;
struct worker;

struct outside_result {
    const char *stage;  /* where it failed: "dns", "tcp" …; NULL: it was a success */
    slice error;        /* what happened */
    const char *advice; /* what to do; after a failure */
    enum err err;       /* what a failure is to the caller; OK: E_OUTSIDE */
    const char *note;   /* after a success: what has proved it; NULL: nothing more to say */
    slice target;
    bool unknown;  /* the configuration does not know the target, and the default port counts */
    uint16_t port; /* which is that */
    uint64_t latency_us; /* 0: no connection was made */
};

/* Columns of the three commands: the five fields, and a warning before them. */
extern const struct command_column outside_columns[];

/* true: this test may begin; outside_end() follows. false: the call has failed. */
bool outside_begin(struct command_call *call, enum outside_kind kind);
/* Ends the call. */
void outside_end(struct command_call *call, enum outside_kind kind,
                 const struct outside_result *result);
/* The argument, or the setting of the schedule in its place; empty: neither says it. */
slice outside_arg(const struct command_call *call, const char *name, enum outside_kind kind);

enum { OUTSIDE_HOME_BYTES = 32 };
/* An address whose home is this worker: for answers to a domain of ours (home/ask.h). false: none
 * was found. */
bool outside_home(const struct worker *w, char out[OUTSIDE_HOME_BYTES]);
/* Whether the configuration of this node knows a host as its own: as a domain that it serves, as
 * its name, or as that of the machine. */
bool outside_knows(const struct worker *w, slice host);

/* A host as operators write it: HOST, ADDRESS or [ADDRESS], with :PORT or without, and an address
 * of IPv6 also bare. Both are of the arena, or of `text`. */
struct outside_host {
    slice host;    /* without the port; IPv6 in brackets */
    slice address; /* with the port, if it was given */
    uint16_t port; /* 0: none was given */
};
/* false: it is of no such form, or the port is none. */
bool outside_host_read(struct outside_host *out, slice text, struct arena *arena);
#define OUTSIDE_HOST_FORM "a host or an address, with :PORT (1 to 65535) or without"

/* The domain of ours in whose name a test speaks that is about this host: the host itself, if that
 * is one, or the first domain. */
slice outside_domain(const struct worker *w, slice host);

/* A stream to a host of this server, as other servers open them. */
struct outside_edge {
    struct worker *worker;
    slice host, domain; /* domain: of ours, which the stream is for */
    slice from;         /* the domain that would open it */
    uint32_t timeout_ms;
    void (*done)(void *arg, const char *stage,
                 slice why); /* stage NULL: it is up to the features */
    void *arg;
};
/* Sets what the result says of the port. false: this server is being stopped. `done` comes later.
 */
typedef bool outside_edge_fn(const struct outside_edge *want, struct outside_result *result);
/* What opens it: at start, of the part of the program that knows streams. */
void outside_edge_by(outside_edge_fn *fn);
bool outside_edge_open(const struct outside_edge *want, struct outside_result *result);
const char *outside_edge_advice(const char *stage);

/* Why stanzas of a domain of ours did not reach another server, for whoever got an error in place
 * of an answer. stage: of the link, or "delivery" if its home does not know it. */
struct outside_lost {
    const char *stage, *advice; /* static */
    slice why;                  /* for operators; empty: its home does not know it. Borrowed */
    const char *setting;        /* of a domain of ours, that forbids it; NULL: none */
    bool ours;                  /* because of this server's own rules */
};
struct outside_lost_ask {
    slice from, to; /* of a stanza that was lost: bare, borrowed for the call */
    uint64_t
        left_ms; /* of the test: how long the home is waited for, but at least OUTSIDE_LOST_MS */
    void (*told)(void *arg, const struct outside_lost *lost);
    void (*drop)(void *arg); /* the process ends: frees memory, no more */
    void *arg;
};
enum { OUTSIDE_LOST_MS = 1000 };
typedef void outside_lost_fn(struct worker *w, const struct outside_lost_ask *ask);
void outside_lost_by(outside_lost_fn *fn); /* as outside_edge_by() */
/* The home of the link is asked: `told` comes later. */
void outside_lost(struct worker *w, const struct outside_lost_ask *ask);
/* The next stanza that this worker sends from that domain of ours to another server begins a new
 * attempt, if the last one has failed (gate/s2s/s2s_home.h). */
typedef void outside_retry_fn(struct worker *w, slice local, slice remote);
void outside_retry_by(outside_retry_fn *fn); /* as outside_edge_by() */
void outside_retry(struct worker *w, slice local, slice remote);

/* What to do about an error by which a server says that a limit of it is reached, or that the
 * sender needs approval; NULL: it is none of these. */
const char *outside_limit_advice(slice condition);

/* The first user that was configured for tests. */
typedef void outside_user_fn(void *arg, slice jid, slice password); /* empty: there is none */
void outside_user(struct worker *w, outside_user_fn *done, void *arg);

extern const struct feature outside_feature;
