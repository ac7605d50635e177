/* config: the configuration of a room (XEP-0045 §10.1, §10.2) as a value: what the settings make of
 * it for a new room, what it allows, and what disco#info tells of it. Pure but for the settings
 * (muc/room/settings.h).
 *
 * A value may be copied by assignment; its texts belong to somebody else (a form, stored text)
 * until room_config_keep() makes a copy that owns them.
 *
 * Limits: ROOM_TEXT_MAX bytes a text, ROOM_CONTACTS_MAX addresses to contact, ROOM_STORED_MAX bytes
 * stored. */
#pragma once
#include "base/slice.h"
#include "xmpp/muc.h"

struct arena;
struct disco_info;

enum { ROOM_TEXT_MAX = 1023, ROOM_CONTACTS_MAX = 16, ROOM_STORED_MAX = 64 * 1024 };

/* Readers of the addresses of occupants (muc#roomconfig_whois): semi-anonymous or not anonymous. */
enum room_whois { WHOIS_MODERATORS, WHOIS_ANYONE };
/* Senders of private messages (muc#roomconfig_allowpm). */
enum room_pm { PM_ANYONE, PM_PARTICIPANTS, PM_MODERATORS, PM_NOBODY };
enum room_text {
    ROOM_NAME,
    ROOM_DESCRIPTION, /* may have lines */
    ROOM_LANGUAGE,
    ROOM_SECRET,
    ROOM_PUBSUB,   /* XMPP URI of a node */
    ROOM_CONTACTS, /* addresses, each ends with a tab: room_contact_next() */
    ROOM_TEXTS
};

#define ROOM_NO_LIMIT  UINT32_MAX /* users: as many as the service allows */
#define ROLE_BIT(role) (1u << (role))

struct room_config {
    bool persistent, listed; /* listed: public, found by disco#items and search */
    bool members_only, moderated;
    bool member_invites;         /* members invite too, not only moderators */
    bool self_add;               /* who registers becomes a member unasked */
    bool password;               /* text[ROOM_SECRET] is needed to enter */
    bool absent_visible;         /* members and administrators are shown while they are not here */
    bool groupchat1;             /* presence without <x/> enters (§7.2.1, groupchat 1.0) */
    bool strip_xhtml;            /* XHTML-IM (XEP-0071) is removed from messages */
    bool archive, archive_joins; /* messages are archived; also entering and leaving */
    uint8_t whois, pm;           /* enum room_whois, room_pm */
    uint8_t subject_lowest;      /* enum room_role: the lowest that changes the subject */
    uint8_t presence_roles;      /* bits ROLE_BIT(): whose presence is broadcast */
    uint8_t list_roles;          /* bits: who may ask for the lists of affiliations */
    uint32_t users_max, hidden_max; /* occupants, hidden ones included; hidden ones */
    uint32_t history, history_max;  /* messages on entering unless asked; at most, if asked */
    slice text[ROOM_TEXTS];
    char *own; /* NULL: the texts belong to somebody else */
};

/* Sets the configuration of a new room; texts are empty. */
void room_config_default(struct room_config *c);
void room_config_keep(struct room_config *out, const struct room_config *in);
void room_config_fini(struct room_config *c);

/* Rights that it gives. Limits of the service that have become smaller since hold as well. */
bool room_may_pm(const struct room_config *c, enum room_role by);
bool room_may_subject(const struct room_config *c, enum room_role by); /* a visitor never (§8.1) */
bool room_shows(const struct room_config *c, enum room_role of);    /* its presence is broadcast */
bool room_password_right(const struct room_config *c, slice given); /* given: empty if none was */
uint32_t room_users_max(const struct room_config *c);
uint32_t room_hidden_max(const struct room_config *c);
uint32_t room_history(const struct room_config *c);     /* how many are sent unless asked */
uint32_t room_history_max(const struct room_config *c); /* how many, however many are asked for */
bool room_logs(const struct room_config *c);      /* messages are kept: of persistent rooms only */
unsigned room_flags(const struct room_config *c); /* ROOM_MODERATED, ROOM_MEMBERS_ONLY */
/* The contacts one by one: `rest` begins as text[ROOM_CONTACTS]. */
bool room_contact_next(slice *rest, slice *jid);

/* Differences between two configurations, as bits; 0: nothing. */
enum room_diff {
    DIFF_LOGGING = 1,      /* room_logs(): privacy-related */
    DIFF_WHOIS = 2,        /* privacy-related */
    DIFF_MEMBERS_ONLY = 4, /* others have to go if it is on now (§10.2, status 322) */
    DIFF_PERSISTENT = 8,   /* a row is to be written, or removed */
    DIFF_LISTED = 16,
    DIFF_MODERATED = 32,
    DIFF_PRESENCE_ROLES = 64,
    DIFF_ABSENT_VISIBLE = 128,
    DIFF_ARCHIVE = 256, /* which is told by DIFF_LOGGING, where it makes that difference */
    DIFF_OTHER = 512
};
enum { DIFF_PRIVACY = DIFF_LOGGING | DIFF_WHOIS };
/* The status codes that occupants are told (§10.2.1, §15.6): 102 or 103 (absent members), 170 or
 * 171 (logging), 172 or 173 (addresses), 104 for the rest; returns how many. */
enum { ROOM_CODES_MAX = 4 };
unsigned room_diff_codes(unsigned diff, const struct room_config *is,
                         unsigned code[ROOM_CODES_MAX]);

/* Facts that disco#info tells of a room beside its configuration (§6.4). */
struct room_facts {
    bool closed; /* who asks may not come in, and is not told how many are there */
    slice subject;
    unsigned occupants;
    const slice
        *owner; /* bare JIDs: whom to contact if the configuration names nobody; NULL: none */
    unsigned owner_count;
};
/* Adds the features (§15.3) and the form muc#roominfo (§15.5.4). Borrows all texts. */
void room_config_disco(struct disco_info *d, const struct room_config *c,
                       const struct room_facts *facts, struct arena *tmp);
