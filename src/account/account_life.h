/* account_life: how an account begins and ends, and what becomes of its sessions when those who may
 * log in are others. At the home of the account if it is not said otherwise. */
#pragma once
#include "account/account.h"
#include "base/err.h"
#include "session/session.h"

struct arena;
struct buf;
struct elem;
struct message_row;
struct store_batch;
struct store_stmt;

/* What the columns of an account say of its user; ptr NULL: that column is left as it is. */
struct user_profile {
    slice given_name, surname, email, department, directory_uri, template;
};
/* What a template gives to a new account (ops/templates.h). An empty text gives nothing. */
struct account_template {
    slice name, department; /* of its profile */
    bool disabled;
    slice federation;    /* on, off: as of `federation set` */
    slice share, others; /* on, off; allow, block, ask: as of `policy set` */
    slice groups;        /* that it is in by name, separated by spaces */
};

/* Beside `template` of account_events, about all that an account has by its template. In struct
 * feature; one has it. Adds reads or statements to transactions. Any worker. */
struct template_part {
    /* Whether the transaction that makes an account would be, or why it was, in conflict: reads.
     * Then, of what they have found from statement *at on, which it moves on, with as many accounts
     * before as `more` says: a sentence; NULL: nothing stands against it. */
    void (*limits)(struct store_batch *b, const struct account_template *t);
    const char *(*refusal)(const struct store_batch *b, unsigned *at,
                           const struct account_template *t, int64_t more, struct arena *arena);
    /* Whether an account that was made has all of it: reads. Then likewise: a sentence about what
     * it does not have; NULL: it has all. */
    void (*given)(struct store_batch *b, slice jid, const struct account_template *t);
    const char *(*lacks)(const struct store_batch *b, unsigned *at,
                         const struct account_template *t, struct arena *arena);
    /* A template gets another name: statements for what refers to it. */
    void (*renamed)(struct store_batch *b, slice from, slice to);
    /* One of these is committed. */
    void (*done)(struct worker *w);
    /* The audit log is to say what a deleted account had: reads. Then likewise: appends
     * "NAME=VALUE" to what is there, parted by a blank, and at most ACCOUNT_NOTE_MAX bytes. */
    void (*noted)(struct store_batch *b, slice jid);
    void (*note)(const struct store_batch *b, unsigned *at, struct buf *out);
};
enum { ACCOUNT_NOTE_MAX = 1024 };

/* By which users are found. The same; adds statements to transactions. */
struct profile_index {
    /* An account is made with a profile, or its profile changes. They find its id in `account` by
     * `jid`, where it has its row already. Any worker. */
    void (*profile)(struct store_batch *b, slice jid, const struct user_profile *p);
    /* A vCard (XEP-0054) of an account is stored: adds what is made of it, with the same result if
     * it is added again. */
    void (*card)(int64_t owner, const struct elem *card, struct store_batch *b);
};

/* An account row was committed: its home forgets that there was no such account, and features are
 * told (`created`). Any worker. */
void account_created(struct worker *w, slice bare, bool disabled);
/* Ends all sessions but `keep` (NULL: all); returns how many. At the home. */
unsigned account_end_sessions(struct account *a, const struct session *keep, enum session_end why);
/* The same when a new password is committed; generation: what credentials_set() gave. */
unsigned account_password_changed(struct account *a, const struct session *keep,
                                  int64_t generation);

/* Tells all features: feature.access_revoked. At the home, when the sessions have ended. */
void account_access_revoked(struct account *a, const struct session *keep, const uint8_t *device);

/* For what ends the account: as account_with(), but not behind messages that wait for the answer of
 * somebody else (stage ARCHIVE). If fn removes or disables the account, what waits is refused at
 * once. */
void account_with_unasked(struct worker *w, slice bare, account_fn *fn, void *arg);
/* As account_with(), but a disabled account is loaded, too: only to be removed. Its owner and
 * others stay out. If it is not READY then, fn sets `admitted` to false. */
void account_admit(struct worker *w, slice bare, account_fn *fn, void *arg);
/* These two exclude each other: E_AGAIN at once, from inside, if one of them is under way. Until
 * `done` was called and the sessions have ended, what comes for the account is refused. */
/* Disables the account: ends its sessions. It is ABSENT from then on, and keeps its data. */
void account_disable(struct account *a, void (*done)(void *arg, enum err e), void *arg);
/* Deletes the account (REMOVING_DELETES): lets every feature add its statements, calls done when
 * they are committed, and ends the sessions. Then every worker hears of it (account.deleted), its
 * archive is removed, and `left` is called (NULL: nobody waits for that); if the process ends
 * before, the archive is removed after the next start. After an error, nothing has changed.
 * REMOVING_EMPTIES: an empty account that is disabled stays, so that nobody else gets the address;
 * and with it its profile and what others gave to the address (account.disown). */
void account_remove(struct account *a, enum account_removing what,
                    void (*done)(void *arg, enum err e), void (*left)(void *arg), void *arg);
/* The same, where somebody wants to know what the account was: `reads` adds reads to the same
 * transaction, before anything is deleted, and `found` gets what they have found before `done`. */
struct account_look {
    void (*reads)(struct store_batch *b, void *arg);
    void (*found)(const struct store_batch *b, void *arg); /* from the first statement on */
};
void account_remove_looked_at(struct account *a, enum account_removing what,
                              const struct account_look *look, void (*done)(void *arg, enum err e),
                              void (*left)(void *arg), void *arg);
/* What it has had and said of late: when it is deleted, or goes out of memory. */
void account_forget_past(struct account *a);

extern const struct message_row account_created_message;
void account_inherit(struct store_batch *b, slice jid); /* feature.account.inherit */
extern const struct message_row account_gone_message; /* feature.account_deleted, on each worker */
extern struct store_stmt account_put_disabled;
