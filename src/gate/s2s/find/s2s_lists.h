/* s2s_lists: what operators say of foreign domains, by patterns: static routes
 * (gate/s2s/find/s2s_route.h) and demands on their servers. The rows are in the database. Each
 * worker has a copy, which it reads at start and after each change. Confined to its worker.
 *
 * Limits: S2S_ROUTES_OF_PATTERN routes for a pattern, S2S_ROUTES_MAX in all, S2S_DEMANDS_MAX
 * demands. */
#pragma once
#include "gate/s2s/find/s2s_route.h"
#include "gate/s2s/s2s_stage.h"
#include "store/store.h"

struct feature;
struct worker;

enum { S2S_DEMANDS_MAX = 10000, S2S_PINS_MAX = 8, S2S_PIN_LEN = 64, S2S_PINS_BYTES = 8 * 66 };

/* How a server must prove its domain. */
enum s2s_auth {
    S2S_AUTH_SETTINGS = 0, /* as s2s.verify-certificates and s2s.dialback say */
    S2S_AUTH_ANY = 1,      /* by its certificate or by dialback */
    S2S_AUTH_CERTIFICATE = 2,
    S2S_AUTH_DIALBACK = 3
};

/* Whether a server that we connect to must show a right certificate. */
enum s2s_verify_demand {
    S2S_VERIFY_SETTINGS = 0, /* as s2s.verify-certificates says */
    S2S_VERIFY_ON = 1,
    S2S_VERIFY_OFF = 2
};

/* What is said of a pattern: a route, a demand, or both. */
struct s2s_listed {
    slice key; /* of the pattern: "a.test", ".a.test" of "*.a.test", "" of "*" */
    slice pattern;
    struct s2s_route *routes;
    bool serves;     /* one of them is in service */
    bool blocked;    /* one of those in service is */
    bool ends;       /* one of them says that nothing less specific counts */
    bool demands;    /* the rest is of a demand */
    uint8_t auth;    /* enum s2s_auth */
    uint8_t verify;  /* enum s2s_verify_demand */
    uint8_t tls_min; /* 12, 13, as in "1.3"; 0: as TLS is allowed at all */
    slice pins;      /* SHA-256 of certificates, in hexadecimal with spaces between them */
};

/* The patterns that match a domain, the most specific first:
 *     struct s2s_levels l = s2s_levels_of(domain);
 *     while ((listed = s2s_levels_next(&l)) != NULL) …
 * Valid until the worker's loop goes on. */
struct s2s_levels {
    const void *lists;
    slice rest;
    bool over;
};
struct s2s_levels s2s_levels_of(slice domain);
/* Of a pattern: with it for a domain, the levels are itself and those that are less specific. */
slice s2s_pattern_key(slice pattern);
const struct s2s_listed *s2s_levels_next(struct s2s_levels *l);

/* Whether the most specific pattern with a route in service blocks it: no stanzas go there or come
 * from it. As long as the rows could not be read, all are blocked. */
bool s2s_is_blocked(slice domain);

bool s2s_has_route(slice domain); /* one in service, of this domain alone */

extern const struct feature s2s_lists_feature; /* and its commands: s2s_list_commands.c */

/* A foreign domain must show this: the settings of federation, and in their place the demand and
 * the routes of the most specific pattern that has some. */
struct s2s_demand {
    bool tls;            /* streams must be encrypted */
    bool plain;          /* but a static route lets it do without, unless `firm` */
    bool firm;           /* a demand needs TLS, whatever routes say */
    bool verify;         /* a server that we connect to must show a right certificate */
    bool external;       /* a certificate proves the domain, and ours to it */
    bool dialback;       /* dialback proves the domain, and ours to it */
    const char *tls_min; /* "TLSv1.3"; NULL: any version that is allowed at all */
    slice pins;          /* one of these certificates, in place of those that are trusted; empty: no
                            pins. Valid until the loop goes on */
};
struct s2s_demand s2s_demand_of(slice domain);
/* What to do if a stream to that domain has failed so. Static. */
const char *s2s_demand_advice(slice domain, enum s2s_stage stage);
/* Whether a stream without TLS is of use to that domain, which has connected to us. */
bool s2s_may_be_plain(slice domain);

/* For the feature. */
extern unsigned s2s_lists_slot;
extern const struct store_schema s2s_lists_schema;
/* read_again: it is called some time after a read that has failed, to make another one. */
void s2s_lists_start(struct worker *w, void (*read_again)(struct worker *w));
void s2s_lists_ended(struct worker *w);
/* A read of all rows, and its results: the copy of this worker from now on. */
struct store_batch *s2s_lists_read(struct worker *w);
void s2s_lists_take(struct worker *w, enum store_result result, const struct store_batch *b);

/* Adding to batches, for commands. */
extern struct store_stmt s2s_route_list, s2s_route_of_pattern, s2s_route_one, s2s_route_add,
    s2s_route_set, s2s_route_del, s2s_demand_list, s2s_demand_of_pattern, s2s_demand_add,
    s2s_demand_set, s2s_demand_del;
