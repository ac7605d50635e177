/* private: what the files of muc/ know of each other beside room.h, by the file that has it. All of
 * it belongs to the home of the room, and to the worker that this is. What is given is borrowed
 * unless it says "takes over". Bare JIDs are prepared. */
#pragma once
#include "im/feature.h"
#include "im/host.h"
#include "muc/room.h"

struct disco_info;
struct form;

#define NS_MUC_OFFLINE "http://tigase.org/protocol/muc#offline"
#define MUC_LABEL      "conference" /* of the service: conference.<domain> */
enum { MORE_CHILDREN = 4 };         /* that the room adds to what occupants send */

/* --- which rooms there are --- */

/* muc/service.c */
extern const struct host muc_hosts[];
bool room_is_served(const struct room *r); /* group chat is on, its domain one of ours */
/* What waited while the room was loaded; both take over st and see to its ticket. */
void room_handle_waiting(struct room *r, struct stanza *st, struct origin origin);
void room_unreachable(struct room *r, struct stanza *st, struct origin origin);

/* muc/rooms.c */
enum { ROOM_INBOX_LEAVES = 4 * ROOM_INBOX_MAX }; /* with those who leave */
void rooms_start(void);
void rooms_stop(struct worker *w);
void room_loaded(struct room *r, enum err e); /* E_NOTFOUND: there is none; OK; E_DOWN */
int64_t room_new_id(void);
/* The room that a request to it (IQ_TO_ROOM) is for: rules get only those to rooms that are READY.
 */
struct room *room_of_iq(const struct iq *iq);
/* Waits for the room that is loading. false: too many do; st stays the caller's. */
bool room_wait(struct room *r, struct stanza *st, struct origin origin);

/* muc/info.c: service discovery. */
extern const struct iq_rule muc_service_rules[], room_info_rules[];
bool room_disco_get(struct iq *iq, slice node);

/* muc/metrics.c */
extern struct metric rooms_metric, rooms_persistent_metric, rooms_loaded_metric,
    room_occupants_metric, room_joins_metric, room_joins_refused_metric;

/* --- what is stored --- */

/* muc/store.c */
extern const struct store_schema room_schema;
/* Of statements that insert for a room $1: it may have ended while they waited behind that. */
#define ROOM_EXISTS " WHERE EXISTS (SELECT 1 FROM room WHERE id = $1)"
void room_load(struct room *r); /* room_loaded() follows, later */
/* Whether one room more may be; it counts from here, for who makes it too. rooms_release() takes it
 * back. Any worker. */
bool rooms_reserve(slice creator, struct why *why);
void rooms_release(slice creator);
void rooms_count_stored(struct worker *w); /* at start, once */
/* JID and name of the stored rooms of a domain that are listed. */
void rooms_read_listed(struct worker *w, slice domain, int64_t max, store_done_fn *done, void *arg);

/* muc/makers.c; any worker */
extern struct store_stmt room_makers; /* JID and number, of rooms made before a time */
void room_makers_count(slice jid, int64_t by);
bool room_maker_may(slice jid, struct why *why); /* make one room more (muc.rooms-per-user) */
/* Counts the list of affiliations for the user who made the room, after it has changed. */
void room_makers_weigh(struct room *r);
/* Of all rooms of that user that are loaded; of this one alone if an operator or administrator made
 * it. */
int64_t room_makers_bytes(const struct room *r);
void room_makers_forget(void); /* memory only: the node has ended */

/* Statements of a change: of a room that becomes persistent, of one that is, of its end. */
void room_store_all(struct store_batch *b, const struct room *r, const struct room_config *c);
void room_store_config(struct store_batch *b, const struct room *r, const struct room_config *c);
void room_store_edit(struct store_batch *b, const struct room *r, const struct affiliation_edit *e);
void room_store_remove(struct store_batch *b, const struct room *r);

/* muc/subject.c */
extern struct store_stmt room_subject_put; /* id of the room, text; in muc/store.c */
/* A message that changes the subject: it is sent to all who enter from now on. ROUTE_PENDING:
 * ticket_done(origin) follows when it is stored, however long that takes, or never will be. What is
 * recorded next is on the same lane behind it. */
enum routed room_subject_set(struct room *r, struct stanza *st, struct origin origin);
bool room_subject_waits(const struct room *r); /* no more can be set now: too many are not stored */
/* It goes, and that is true, if it is the message of this archive id, said by `occupant` (XEP-0421
 * id; empty: by anybody). */
bool room_subject_bury(struct room *r, uint64_t id, slice occupant);
void room_subject_store(struct room *r); /* of a room that is stored from now on */
void room_subject_drop(struct room *r);  /* memory only: it has no room any more */
/* It is stored from now on: what was changed beside the change that made it so (room.beside). */
void room_store_beside(struct room *r);

/* muc/lock.c */
/* A new room waits for its owner to configure it (§10.1.3), for muc.lock-timeout at most. */
void room_lock(struct room *r);
/* Opens a locked room to others as it is configured now, persistent if that is so. Done later if
 * the room is stored first; what is not locked stays as it is. */
void room_open(struct room *r);

/* muc/change.c */
void changes_drop(struct room *r); /* memory only */

/* muc/admin.c */
void room_answer(struct iq *iq, enum err e); /* to who asked for a change: what became of it */

/* muc/owner.c */
/* What makes this the configuration of the room, and opens it if it is locked: sets `config` and
 * `unlock` of the delta. false: it cannot be, why says so. */
bool room_reconfigure(const struct room *r, const struct room_config *next, struct room_delta *d,
                      struct why *why);

/* muc/record.c */
bool room_records(const struct room *r); /* messages are stored */
/* Of what was relayed; its id 0: it is not kept. */
enum routed room_record(struct room *r, const struct room_post *p, struct origin origin);
/* It came (TYPE_AVAILABLE) or goes (TYPE_UNAVAILABLE). */
void room_record_presence(struct room *r, const struct seat *s, enum stanza_type type);
/* x: the <x/> that it entered with; NULL: none. */
void room_send_history(struct room *r, const struct seat *s, const struct elem *x);

/* muc/archive_rules.c */
void room_archive_disco(struct disco_info *d, const struct room *r);

/* muc/cleanup.c: somebody spoke, in a stored room. */
void room_spoken(struct room *r);
void room_spoken_remove(struct store_batch *b, const struct room *r);

/* muc/vcard.c */
extern struct store_stmt room_vcard_hashes; /* by JID of the room */
extern struct store_stmt room_vcard_get;    /* by id of the room */
void room_vcard_free(struct room *r);
void room_vcard_loaded(struct room *r, slice hashes);
void room_vcard_store(struct store_batch *b, const struct room *r);
void room_vcard_remove(struct store_batch *b, const struct room *r);
void room_vcard_disco(struct disco_info *d, const struct room *r);
/* For a room that is imported: whether it can be a card; its row. */
bool room_vcard_is_right(slice card, struct arena *tmp);
void room_vcard_put(struct store_batch *b, int64_t room, slice card, struct arena *tmp);

/* muc/hats.c */
enum { ROOM_HATS_MAX = 1000 };
extern struct store_stmt room_hats_get; /* by JID of the room */
void room_hats_free(struct room *r);
void room_hats_loaded(struct room *r, const struct store_batch *b, unsigned at);
void room_hats_store(struct store_batch *b, const struct room *r);
void room_hats_remove(struct store_batch *b, const struct room *r);
void room_hats_forget(struct room *r, slice bare); /* memory only: the account is deleted */
void room_hats_disco(struct disco_info *d, const struct room *r, struct arena *tmp);
/* What this person wears, for presence; and the commands that it may use, for disco#items. */
void room_hats_write(struct buf *out, const struct room *r, slice bare);
void room_hats_items(struct buf *out, const struct room *r, const struct stanza *st);
/* For rooms that are exported and imported: each; whether it can be a hat; its row. */
typedef void room_hat_fn(slice jid, slice uri, slice title, void *arg);
void room_hats_each(const struct room *r, room_hat_fn *fn, void *arg);
bool room_hat_is_right(slice uri, slice title);
void room_hat_store(struct store_batch *b, int64_t room, slice jid, slice uri, slice title);

/* --- who has to do with it --- */

/* muc/affiliation.c */
void affiliates_free(struct room *r);
void affiliate_put(struct room *r, const struct affiliation_edit *e);
/* With the nickname and reason that it leaves as they are. */
struct affiliation_edit room_edit_whole(const struct room *r, const struct affiliation_edit *e);
/* By how many bytes it lets the list of affiliations grow, or shrink; at most. */
int64_t room_edit_growth(const struct room *r, const struct affiliation_edit *e);
/* The affiliate whose registered nickname this is (a key); NULL: nobody's. */
struct affiliate *room_reserved(const struct room *r, slice key);
/* Whether another than `bare` has registered this nickname (enforced), or one that looks like it.
 */
bool room_nick_reserved(const struct room *r, slice nick, slice bare);
/* After a change of the configuration: removes occupants who may not be here, and adapts roles. */
void room_config_applied(struct room *r, unsigned diff);

/* muc/follow.c: members who have what is said while they are not here. */
extern struct store_stmt room_unread_put, room_unread_list, room_ids_beyond;
void follower_loaded(struct affiliate *a, int64_t unread, int64_t upto);
void followers_loaded(struct room *r); /* room_loaded() follows, perhaps later */
void followers_store(struct room *r);  /* what is not stored of their numbers */
/* What `speaker` (bare JID) said goes to followers who are not here, and counts as unread. */
void room_tell_followers(struct room *r, struct stanza *st, slice speaker);
/* `bare` says what it has read (XEP-0333), in the room or not; whether that is a follower. */
bool room_marked(struct room *r, slice bare, const struct stanza *st);
void affiliate_seated(struct room *r, slice bare);               /* one session more is here */
void affiliate_unseated(struct room *r, slice bare);             /* one less */
void follower_begins(struct room *r, slice bare);                /* if the user follows */
void follower_back(struct room *r, slice bare, uint32_t unread); /* as it was before */
void room_unread_get(struct iq *iq);

/* muc/bookmark.c: whether the user has a nickname here; it has changed. */
enum registered { REGISTERED_NOT, REGISTERED };
enum registered room_registered(const struct room *r, slice bare);
void room_bookmark(struct room *r, slice bare, enum registered was);

/* muc/mention.c: devices of those who are mentioned and not here. */
void room_tell_mentioned(struct room *r, struct stanza *st, slice speaker);

/* --- who is in it --- */

/* muc/occupant.c */
void look_add(struct map *looks, struct look *l); /* maps of struct look by its text */
void look_remove(struct map *looks, struct look *l);
/* room@service/nick, as others address an occupant; in tmp. */
slice room_address(const struct room *r, slice nick, struct arena *tmp);
/* Somebody of this bare JID who is in; NULL: nobody. */
struct occupant *room_occupant_of(const struct room *r, slice bare);
/* Whether another than `bare` is seen here by this nickname (enforced), or one that looks like it.
 */
bool room_nick_used(const struct room *r, slice nick, slice bare);
/* A new occupant, without seats; nick was enforced. */
struct occupant *occupant_create(struct room *r, slice nick, slice bare);
void occupant_rename(struct room *r, struct occupant *o, slice nick);
/* Another takes its nickname, who must not learn that it is here: it is hidden, and gets a new one.
 */
void room_give_way(struct room *r, struct occupant *o);
void occupant_changed(struct occupant *o);                  /* to be shown anew */
void occupant_audience(struct room *r, struct occupant *o); /* its role is another */
void occupants_free(struct room *r);
/* A session more of it; its last presence is that. They keep references. */
struct seat *seat_create(struct room *r, struct occupant *o, struct stanza *presence);
void seat_presence(struct room *r, struct seat *s, struct stanza *presence);
/* A seat to come back to when the room may be gone, and the place taken by another. */
struct seat_ref {
    struct worker *worker;
    uint64_t number;
    size_t room_len, jid_len;
    char text[];
};
struct seat_ref *seat_ref_new(const struct room *r, const struct seat *s); /* mem_free() ends it */
struct seat *seat_ref_find(const struct seat_ref *ref, struct room **r);   /* NULL: it is gone */

/* muc/join.c */
/* Presence to where no room is: makes one, or is refused. Takes over. */
enum routed room_found(struct room *r, struct stanza *st);
/* A planned restart: what is kept of a seat (scratch); its session takes it again, without a word
 * to anybody. */
slice seat_blob(const struct room *r, const struct occupant *o);
void room_restore(struct worker *w, slice room, const struct audience_member *m);

/* muc/pace.c */
bool room_too_fast(struct room *r, struct occupant *o);      /* counts one message more */
bool room_asks_too_fast(struct room *r, struct occupant *o); /* a request to another */
bool room_outsiders_too_fast(struct room *r);                /* a message of who is not here */
/* policy-violation, to be repeated later. Takes over. */
enum routed room_slow_down(struct room *r, struct stanza *st);
void room_debt_keep(struct room *r, struct occupant *o);      /* when it leaves */
void room_debt_take(struct room *r, struct occupant *o);      /* when it is back */
bool room_returns_too_fast(const struct room *r, slice bare); /* it came and went too often */
/* Another availability; the last one, some time later, if there are too many. */
void room_show_presence(struct room *r, struct occupant *o);

/* muc/guess.c: passwords that were wrong. */
void room_guessed(struct room *r, slice bare);                /* one more */
bool room_guesses_too_fast(const struct room *r, slice bare); /* the user has to wait */
bool room_was_guessed(const struct room *r);                  /* it stays in memory */

/* muc/voice.c: when it leaves, and when it is back. */
void room_voice_keep(struct room *r, const struct occupant *o);
void room_voice_take(struct room *r, struct occupant *o);

/* muc/show.c */
/* Everything that the room relays for an occupant gets this behind its children (XEP-0421). */
void occupant_id_write(struct buf *out, slice id);
/* TO_ bits: who sees real JIDs (with_jid 1), or does not (0); 0: nobody. */
unsigned room_seeing(const struct room *r, unsigned with_jid);
bool occupant_visible(const struct room *r, const struct occupant *o); /* to others */
/* Its nickname as the actor of something; empty: it is hidden. */
slice occupant_shown_nick(const struct occupant *o);
/* Presence of o for somebody who sees real JIDs, or does not; shared, owned by o. */
struct stanza *occupant_shown(struct room *r, struct occupant *o, unsigned with_jid);
/* Tells all others of o as it is. */
void room_show_entered(struct room *r, struct occupant *o);
/* To one of its own seats alone, with 110: as it is, with these codes; that it has left. */
void room_show_self(struct room *r, struct occupant *o, const struct seat *s, const char *codes);
void room_show_left(struct room *r, struct occupant *o, const struct seat *s,
                    const struct show *how);

/* muc/absent.c: those with an affiliation who are not in the room; to NULL: to all. */
void room_show_absent(struct room *r, const struct seat *to);

/* --- what is said --- */

/* muc/say.c */
extern struct metric *const room_say_metrics[];
void stanza_id_write(struct buf *out, const struct room *r, uint64_t id);
void room_send_subject(struct room *r, const struct seat *s);
/* Whether this error says that its sender does not exist (any more): §18.1. */
bool room_error_is_gone(const struct stanza *st);
/* An error to what the room sent to this seat (NULL: to nobody who is here): it may be gone. */
void room_bounced(struct room *r, struct seat *s, const struct stanza *st);
/* An answer to what cannot be done; says that it is the room's ('by'), not the occupant's. */
void room_error(struct room *r, const struct stanza *st, enum stanza_error e, slice text);
/* The same; takes over st. */
enum routed room_refuse(struct room *r, struct stanza *st, enum stanza_error e, slice text);

/* muc/relay.c: a seat is about to be removed: requests that wait for its answer get an error. */
void room_relays_left(struct room *r, const struct seat *s);
void room_relays_free(struct room *r); /* memory only */

/* muc/moderate.c: handles a message of this seat that retracts an earlier one. */
enum routed room_retracted(struct room *r, const struct seat *s, const struct stanza *st,
                           struct origin origin);

/* muc/ask.c: a message to the room that is not for all who are in it. Takes over. */
enum routed room_asked(struct room *r, struct seat *s, struct stanza *st, struct origin origin);
/* A user who became a member and is not here; by: bare JID of the user who did it, or empty. */
void room_invite_member(struct room *r, slice bare, slice by);

/* muc/register.c: what somebody decided on a registration. Takes over. */
enum routed room_registration_answered(struct room *r, struct stanza *st, struct form *f,
                                       struct origin origin);
