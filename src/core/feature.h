/* feature: what one part of the server adds, as a struct of tables (architecture §2 idea 6).
 * app/features.c is the only list. Rows and events are gathered once, at start. */
#pragma once
#include "core/stage.h"
#include "home/fan.h"
#include "remote/foreign.h"
#include "store/store.h"
#include "talk/iq.h"
#include <stddef.h>

struct account;
struct account_template;
struct alarm;
struct buf;
struct elem;
struct frozen_row;
struct command;
struct command_form;
struct http_route;
struct host;
struct log_area;
struct message_row;
struct metric;
struct metric_family;
struct portable_part;
struct ps_watch;
struct session;
struct setting;
struct worker;

/* A row of docs/xeps.md and doap.xml: what is implemented, and the test that shows it. */
struct xep {
    const char *number;  /* "0030" */
    const char *version; /* of the XEP that was read */
    const char *title;
    const char *since; /* version of Muster */
    const char *test;  /* file in test/, without path and ending; or that of a unit test */
    const char *note;  /* what is left out and why; NULL: complete */
};

/* An element of a bound stream that is no stanza, such as <active/> (XEP-0352): what it does at the
 * home of its session, in order with the stanzas around it. */
enum nonza_number { NONZA_CSI_ACTIVE = 0, NONZA_CSI_INACTIVE = 1 }; /* travels: home/message.h */
struct nonza {
    enum nonza_number number;
    const char *ns, *name;
    void (*run)(struct session *s);
};

/* What a client may ask for inside <bind/> (XEP-0386 §4.2): `run` does it for the new session, at
 * its home, before anything else reaches that; what it appends stands in <bound/>. */
struct bind2_rule {
    const char *ns, *name; /* of the element; the namespace is what <inline/> announces */
    void (*run)(struct session *s, const struct elem *e, struct buf *bound);
    const struct setting *offered_if; /* a bool; NULL: always */
};

/* One number of what an account has, for `user stats` and before the account is deleted. Rows that
 * follow each other with the same statement share its read. */
struct account_fact {
    const char *name;             /* "uploaded files" */
    const struct store_stmt *sql; /* gets the address of the account; finds one row */
    unsigned column;              /* of that row: a number */
};

/* An extension form of disco#info (XEP-0128) of the server. What it says are settings: a text is as
 * many values as it has words, none leaves out the field; a time is in ms. */
struct disco_form_field {
    const char *var;
    const struct setting *setting;
};
struct disco_form {
    const char *type;                      /* FORM_TYPE */
    const struct disco_form_field *fields; /* ended by { 0 } */
};

/* What operators give single accounts of this server beside a role, so that these can do more than
 * other users. Only those who could give it can take such an account over: ops/access.h. */
struct account_power {
    const char *name;        /* what it makes of the account: "an administrator of group chat" */
    const char *permission;  /* of the command that gives it: "rooms.write" */
    bool (*has)(slice bare); /* any worker */
    /* Adds one read: the addresses of the accounts that have it and name this template. */
    void (*of_template)(struct store_batch *b, slice template);
};

/* What a feature takes part in, for the table of features with features (operate/docs_features.c),
 * which reads most of it off the members below. */
enum {
    PART_MESSAGE = 1,
    PART_PRESENCE = 2,
    PART_SESSION = 4,
    PART_ACCOUNT = 8, /* what an account has, from its making to its removal */
    PART_DISCO = 16,
    PART_ROOM = 32,
    PART_REQUEST = 64,  /* to the server or to accounts */
    PART_SERVICE = 128, /* a domain below that of the server */
    PART_ALL = 255
};

/* Events at the home of an account. Any may be NULL. */
struct account_events {
    unsigned *slot; /* gets the number of its place in struct account.state_of */
    /* Loading: adds reads to the batch the account is loaded with; then gets its results, the first
     * of its statements being `first`. `id` is known, the account is not ready yet. The first
     * needs the second. */
    void (*load)(struct account *a, struct store_batch *b);
    void (*loaded)(struct account *a, const struct store_batch *b, unsigned first);
    void (*unload)(struct account *a);
    /* An account is made from a template (account/account_life.h): adds statements to that
     * transaction, in which it has its row. Any worker. */
    void (*template)(struct store_batch *b, slice jid, const struct account_template *t);
    /* An account came to be; at its home, where it is not loaded yet. */
    void (*created)(struct worker *w, slice bare);
    /* Behind `created` or `deleted`, where it came to be as a disabled one, or was emptied and is
     * disabled now. At its home, and maybe on other workers. */
    void (*left_disabled)(struct worker *w, slice bare);
    /* The profile of an account may be another one: it is committed. At its home, where it need not
     * be loaded. */
    void (*profile_changed)(struct worker *w, slice bare);
    /* An account replaces another of its address, which was emptied: adds statements that move what
     * operators gave to the one before, as of credentials_inherit_fn. Any worker. */
    void (*inherit)(struct store_batch *b, slice jid);
    /* The account is deleted, or emptied: adds statements that remove all it owns, and what others
     * have of its data. */
    void (*remove)(struct account *a, struct store_batch *b);
    /* They are committed: once on each worker, which forgets the address where it has it in memory.
     * The account is gone, and there may be a new one of that address already. */
    void (*deleted)(struct worker *w, slice bare);
    /* As `remove` and `deleted`, where its address gets free: of what others gave to the address,
     * such as roles, affiliations and places in groups, which its next user must not inherit. */
    void (*disown)(struct account *a, struct store_batch *b);
    void (*disowned)(struct worker *w, slice bare);
    /* An account that was disabled is enabled: on each worker. What waited for it is said again. */
    void (*enabled)(struct worker *w, slice bare);
    /* Those who could log in cannot any more: `device` was revoked (DEVICE_ID_LEN bytes), or, NULL,
     * the password is another; then the client of `keep`, if any, has changed it. Their sessions
     * have ended. What else tells them of the account ends with it. The account is READY. */
    void (*access_revoked)(struct account *a, const struct session *keep, const uint8_t *device);
};

/* Events of a session, at its home. Any may be NULL. */
struct session_events {
    unsigned *slot;                   /* gets the number of its place in struct session.state_of */
    void (*began)(struct session *s); /* it was made; its client may not know it yet */
    void (*available)(struct session *s); /* initial presence was sent (RFC 6121 §4.2) */
    /* It is no longer available; st: its unavailable presence, ours where the client sent none. */
    void (*unavailable)(struct session *s, const struct stanza *st);
    void (*hibernates)(struct session *s); /* its stream was lost; it may be resumed */
    /* Another stream carries it now, and has what its client lacks. */
    void (*resumed)(struct session *s);
    /* `flushing` or `awaited`: its client took some of what it was sent. */
    void (*took)(struct session *s);
    /* Its presence was broadcast, available or unavailable; st has no `to`. */
    void (*presence)(struct session *s, struct stanza *st);
    /* Its client sends a message or presence to a domain of ours. true: st was taken over, and
     * `awaited` says how many ticket_done(o) will follow. */
    bool (*to_server)(struct session *s, struct stanza *st, struct origin o, unsigned *awaited);
    void (*ended)(struct session *s);
    void (*freed)(struct session *s); /* memory only: releases what its slot holds */
    /* The account freezes (account/account_frozen.h): appends bytes for this session, if any; the
     * second function gets them back, in the session that is made again. They lie under the name of
     * the feature, at most 1 MiB; what has parts has records (home/frozen.h). If addresses are in
     * them, `records` are their rows: renaming looks only there. They come from the database or
     * another node: what is damaged is passed over. */
    void (*save)(const struct session *s, struct buf *out);
    void (*restore)(struct session *s, slice saved);
    const struct frozen_row *const *records;
};

/* Events of a worker, on its thread. Any may be NULL. */
struct worker_events {
    unsigned *slot;                  /* gets the number of its place in struct worker.state_of */
    void (*start)(struct worker *w); /* before its loop runs */
    void (*stop)(struct worker *w);  /* after it has ended */
    void (*ended)(struct worker *w); /* memory only: releases what its slot holds */
    /* Beside the sessions of a planned restart (account/restart.h): before clients can connect; and
     * at an orderly end, when streams are closed. For as long as the work takes that these begin,
     * they can add to life_left of the node, which waits. */
    void (*restore)(struct worker *w);
    void (*save)(struct worker *w);
    /* Roles, tokens, administrators, or the state of an account with a role are others, and the
     * table (ops/access.h) has them: on one worker of each process. */
    void (*access_changed)(struct worker *w);
    void (*node_gone)(struct worker *w, uint32_t node); /* another one: its sessions have ended */
    /* The server of a foreign domain is not to be reached; it is there again, and may have
     * forgotten everything: remote/remote_domains.h. local: for that domain or
     * service of ours, which a rule separates from it; empty: for all. */
    void (*domain_lost)(struct worker *w, slice domain, slice local);
    void (*domain_back)(struct worker *w, slice domain);
};

/* The way of a stanza: core/stage.h. Any may be NULL. */
struct stages {
    stage_check_fn *check;
    stage_block_fn *block;
    stage_archive_fn *archive;
    stage_takes_fn *takes;
    stage_sends_fn *sends;
    stage_view_fn *view;
    stage_show_fn *show;
    stage_permit_fn *permit;
    stage_passage_fn *carbon;
    stage_hold_fn *hold;
};

/* Tables that one feature at most has (core/feature_check.h), since only one can answer. None of
 * their functions is NULL. Others call them in feature_one. */
struct feature_tables {
    const struct archive_words *words;         /* full text: archive/words.h */
    const struct preauth *preauth;             /* core/preauth.h */
    const struct template_part *templates;     /* account/account_life.h */
    const struct profile_index *profiles;      /* account/account_life.h */
    const struct last_seen *last;              /* presence/presence.h */
    const struct presence_watch *watch;        /* presence/presence.h */
    const struct personal_events *personal;    /* presence/caps.h */
    const struct archive_part *archive;        /* core/stage.h */
    const struct push_part *push;              /* core/stage.h */
    const struct audience_owner *rooms;        /* core/audience.h */
    const struct foreign_policy *policy;       /* remote/foreign.h */
    const struct foreign_addresses *addresses; /* remote/foreign.h */
};

struct feature {
    const char *name;
    unsigned parts; /* PART_ bits: what the members below do not tell */

    /* Rows. A list is ended by { 0 } if it is not said otherwise; NULL: none. No two features have
     * the same row: core/feature_check.h. */
    /* Identities beside those of the server and of an account (XEP-0030 §3.1), as "category type
     * name"; NULL-terminated. */
    const char *const *identities, *const *identities_account;
    const char *const *disco;         /* features in disco#info of the server; NULL-terminated */
    const char *const *disco_account; /* and of an account's bare JID */
    const char *stream_feature;       /* XML offered after authentication */
    const struct iq_rule *iq;
    const struct host *hosts; /* services on domains of their own: home/host.h */
    const struct nonza *nonzas;
    const struct bind2_rule *bind2;
    const struct fan_tag *fans;
    const struct ps_watch *watches; /* nodes of accounts: pubsub/pubsub.h */
    const struct xep *xeps;
    const struct disco_form *form;     /* one */
    const struct account_power *power; /* one */
    const struct account_fact *facts;
    const struct store_schema *schema;
    const struct message_row *const *messages; /* NULL-terminated: home/message.h */
    const struct portable_part *portable;      /* of accounts that come and go: core/portable.h */
    const struct http_route *http;             /* see http/server.h */
    struct setting *const *settings;           /* NULL-terminated, like those below */
    struct command *const *commands;
    const struct command_form *command_forms; /* ended by { 0 } */
    struct metric *const *metrics;
    const struct metric_family *families; /* ended by { 0 }: base/metric.h */
    struct alarm *const *alarms;
    struct log_area *const *logs;

    /* Functions that are no events of an account, a session or a worker, and no stage. */
    void (*start)(void); /* by features_set(), before any worker runs; NULL: nothing to do */
    /* These three answer on any worker what the rows stream_feature and disco cannot tell, since it
     * is not constant. */
    /* The same as stream_feature; or NULL. */
    void (*stream_features)(struct buf *out);
    /* A disco#info or disco#items request (XEP-0030) to an account or a service, before it is
     * answered in general: true if this feature has answered or holds it. Node may be empty. */
    bool (*disco_get)(struct iq *iq, slice node);
    /* The same for nodes whose names users choose: asked when no feature has answered, since this
     * one may have to load them first, and nobody is asked behind it. */
    bool (*disco_any)(struct iq *iq, slice node);

    struct account_events account;
    struct session_events session;
    struct worker_events worker;
    struct stages stage;
    struct foreign_rules foreign; /* other servers */
    struct feature_tables one;
};

/* The list, set once at start before any worker runs. Two features with a row that only one may
 * have (core/feature_check.h) end the process, with both names. */
void features_set(const struct feature *const *list); /* NULL-terminated */

/* The features whose member at this offset is not NULL, in the order of the list; NULL-terminated.
 * Each has a name. */
const struct feature *const *features_with(size_t offset);
#define FEATURES_EACH(f, member)                                                                   \
    for (const struct feature *const *f##_ = features_with(offsetof(struct feature, member)), *f;  \
         (f = *f##_) != NULL; f##_++)
unsigned features_count(size_t offset); /* how many these are */
#define FEATURES_COUNT(member) features_count(offsetof(struct feature, member))

/* Calls a function of all features that have it: EMIT(session.ended, s). */
#define EMIT(event, ...)                                                                           \
    FEATURES_EACH (feature, event)                                                                 \
    feature->event(__VA_ARGS__)

/* The tables that features have; NULL: none has it. Set by features_set(). */
extern struct feature_tables feature_one;
#define EMIT_ONE(table, event, ...)                                                                \
    do {                                                                                           \
        if (feature_one.table != NULL)                                                             \
            feature_one.table->event(__VA_ARGS__);                                                 \
    } while (0)

/* The number of a nonza, as UP_NONZA carries it; false: nobody knows it. */
bool nonza_find(slice ns, slice name, uint32_t *number);
void nonza_run(struct session *s, uint32_t number); /* an unknown one does nothing */
