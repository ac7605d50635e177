/* presence: RFC 6121 §4 (presence) and §3 (subscriptions) for the accounts whose home is here.
 * Confined to the worker. A broadcast is one stanza shared by all who get it; contacts of other
 * workers get it with one frame a worker (architecture §4).
 *
 * Limit: addresses a session that directed presence is remembered for, see presence/directed.h. */
#pragma once
#include "home/router.h"

struct account;
struct buf;
struct metric;
struct session;
struct store_batch;

/* The session ends or hibernation expired: unavailable to all who saw it (RFC 6121 §4.5.2, §4.6.3).
 * Not called at shutdown. `quiet`ly does nothing if it was not available and sent no directed
 * presence. */
void presence_session_ended(struct session *s);
/* For presence/presence_pace.c: what an available session says of itself, and whether it is shown
 * as away for it, broadcast. */
void presence_replace(struct session *s, struct stanza *own, bool away);
/* The presence that others are told instead of `own`, which has no <show/>. A new reference. */
struct stanza *presence_shown_away(const struct stanza *own);

/* The process ends, and the session with it: components that see the session are told now. They are
 * not connected yet when others are told, after the next start (account/account_frozen.h). */
void presence_tell_components(struct session *s);

/* Frees what presence holds of a session, tells nobody. After presence_session_ended() it is a
 * no-op. */
void presence_session_forget(struct session *s);

/* Current presence of all available resources to one contact. */
void presence_show(struct account *a, slice contact);
/* Unavailable presence to one contact who loses the subscription. It comes from the resources that
 * the contact could see before the roster was changed, when presence_look() was called: of others
 * it must not even learn that they are there. */
void presence_look(struct account *a, slice contact);
void presence_hide(struct account *a, slice contact);
/* The roster was changed, and the contact sees the account as before, but rules about the roster
 * (stage VIEW) may show it more or less than when presence_look() was called. */
void presence_review(struct account *a, slice contact);
/* Asks for the contact's presence on behalf of all available resources (§4.3.1). */
void presence_probe(struct account *a, slice contact);
/* It comes by itself: struct personal_events. */
void presence_asked(struct account *a, slice contact);

/* The same from one session, if it is available: its presence, if the contact may see it; that it
 * is unavailable; or a probe. */
void presence_tell(struct session *s, slice contact, enum stanza_type type);
/* Asks for the presence of all contacts on behalf of one session. */
void presence_resync(struct session *s);
/* Invisible (XEP-0186 §3): all who see the session are told that it is unavailable, though it is
 * not. And back: it stays hidden until its client sends presence, which is as an initial one
 * (§3.2); it goes on to receive. */
void presence_vanish(struct session *s);
void presence_appear(struct session *s);
/* The result of stage VIEW has changed, and the feature has told the subscribers. */
void presence_views_changed(struct account *a);
/* Whether a contact (bare JID) may see any session of the account that is available. Subscriptions
 * are not looked at. */
bool presence_shows(const struct account *a, slice contact);
/* Whether a session of the account sent this address (any resource of it) directed presence. */
bool presence_is_directed(const struct account *a, slice jid);
/* Shows a session in its rooms: `shown`: by the presence that its client sent to everybody, if it
 * is not invisible; else as available, without status and details. */
void presence_in_rooms(struct session *s, bool shown);
/* Whether the session sent this address (any resource of it) directed presence. */
bool presence_is_sent(const struct session *s, slice jid);
/* Unavailable to the addresses of directed presence that are unwanted; they are forgotten. */
typedef bool presence_unwanted_fn(const struct session *s, slice jid);
void presence_directed_drop(struct session *s, presence_unwanted_fn *unwanted);

/* Presence is about to be delivered to this session: senders that are unavailable, or answer with
 * an error, are sent nothing at the end. */
void presence_answered(struct session *s, const struct stanza *st);

/* For presence/presence_in.h. Of a client: available or unavailable, without `to`; to an address.
 * Take over. */
enum routed presence_undirected(struct session *s, struct stanza *st);
enum routed presence_direct(struct session *s, struct stanza *st, struct origin origin);
/* To all available sessions of an account that take it. Borrows. */
void presence_give_all(struct account *a, struct stanza *st);

/* Watches of presence without a subscription. In struct feature; one has it. */
typedef void watched_by_fn(slice bare, void *arg);
struct presence_watch {
    /* The result of stage VIEW for the account may have changed; subscribers have been told. */
    void (*views_changed)(struct account *a);
    /* Calls fn for each bare JID that sees the account without a subscription, perhaps several
     * times. */
    void (*watched_by)(const struct account *a, watched_by_fn *fn, void *arg);
};
/* When an account was last seen, where no session becomes unavailable. The same. */
struct last_seen {
    /* The node stops and the account has sessions, which do not end: adds statements to the last
     * batch of the account. */
    void (*stopping)(struct account *a, struct store_batch *b);
    /* It stays connected, but shows itself to nobody from now on: presence_vanish(). */
    void (*hidden)(struct session *s);
};

extern struct metric presence_broadcasts, presence_deliveries;
