/* register_invite: invitations: tokens that let somebody make one account (XEP-0445) and that put
 * the one who invited into its roster (XEP-0401). A token is for one account, until it expires; a
 * name that it is for is kept free until then. Stored in the table invite; any worker.
 *
 * Limit: invite.max invitations that are open, of one inviter. */
#pragma once
#include "base/err.h"
#include "base/setting.h"
#include "base/slice.h"
#include "http/server.h"
#include "store/store.h"

struct account;
struct command;
struct worker;

enum { INVITE_TOKEN_LEN = 32 };

struct invite {
    slice token, domain;
    slice name;    /* localpart that it is for; empty: any */
    slice inviter; /* bare JID; empty: an operator */
    uint64_t expires_us;
    bool used;
};

/* Rows, for register.c. */
extern struct setting invite_enabled, invite_by_users, invite_lifetime, invite_max;
extern struct command *const invite_commands[];
extern const struct store_schema invite_schema;

/* `i` is valid during the call, and only with OK. E_NOTFOUND: no such token. */
typedef void invite_fn(void *arg, enum err e, const struct invite *i);
struct invite_op;
struct invite_op *invite_find(struct worker *w, slice token, invite_fn *done, void *arg);
void invite_cancel(struct invite_op **op); /* no callback will come; nulls */

/* To the transaction that makes the account: the token is used by it (which fails if it was used
 * already; empty: there is none), and its name is not kept for another token. */
void invite_add_use(struct store_batch *b, slice token, slice jid, uint64_t now_us);

/* Of an account that is deleted: its open invitations go with it, since who has its name afterwards
 * invited nobody. */
void invite_remove(struct account *a, struct store_batch *b);

/* Bits of what is left to do until two users are contacts of each other. They travel
 * (home/message.h) and are stored, so each keeps its number. */
enum invite_step {
    INVITE_STEP_INVITER = 1,
    INVITE_STEP_NEW = 2,
    INVITE_STEP_AGAIN = 4 /* the inviter */
};

/* The account was made: the inviting user and the new one become contacts. */
void invite_welcome(struct worker *w, slice token, slice jid);
void invite_replay(struct worker *w); /* at its start: where a crash came in between */

struct buf;
void invite_uri(struct buf *out, const struct invite *i); /* the xmpp: link */

extern const struct http_route invite_routes[]; /* register_page.c */

extern const struct message_row invite_welcome_message;
