/* feature: what one part of the server adds, as a struct of tables (design §2 idea 6).
 * app/features.c is the only list. Rows are checked and frozen at start. */
#pragma once
#include "im/iq.h"
#include "store/store.h"

struct account;
struct alarm;
struct buf;
struct command;
struct log_area;
struct metric;
struct session;
struct setting;

struct feature {
    const char *name;
    const char *const *disco;         /* features in disco#info of the server; NULL-terminated */
    const char *const *disco_account; /* and of an account's bare JID */
    const char *stream_feature;       /* XML offered after authentication, NULL: none */
    void (*stream_features)(
        struct buf *out);     /* the same where it is not constant; any worker; NULL: none */
    const struct iq_rule *iq; /* ended by { 0 } */
    const struct store_schema *schema;
    struct setting *const *settings; /* NULL-terminated, like those below */
    struct command *const *commands;
    struct metric *const *metrics;
    struct alarm *const *alarms;
    struct log_area *const *logs;

    void (*start)(void); /* by features_set(), before any worker runs; NULL: nothing to do */

    /* Events at the home of the account. Any may be NULL. */
    /* Loading: adds reads to the batch the account is loaded with; then gets its results, the first
     * of its statements being `first`. `id` is known, the account is not ready yet. */
    void (*load)(struct account *a, struct store_batch *b);
    void (*loaded)(struct account *a, const struct store_batch *b, unsigned first);
    void (*unload)(struct account *a);
    /* The account is deleted: adds statements that remove all it owns; then, when they are
     * committed. */
    void (*remove)(struct account *a, struct store_batch *b);
    void (*removed)(struct account *a);
    void (*session_available)(struct session *s); /* initial presence was sent (RFC 6121 §4.2) */
    /* It is no longer available; st: its unavailable presence, ours where the client sent none. */
    void (*session_unavailable)(struct session *s, const struct stanza *st);
    void (*session_ended)(struct session *s);
};

enum { FEATURES_MAX = 64 };

/* The list, set once at start before any worker runs. */
void features_set(const struct feature *const *list); /* NULL-terminated */
const struct feature *const *features_all(void);
