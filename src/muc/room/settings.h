/* settings: what an operator turns about group chat. Of those that shape rooms, a new room takes
 * the values of the moment it is made; rooms that exist keep theirs. Limits of the service hold for
 * all rooms at once.
 *
 * Process-wide, readable on any thread (base/setting.h). */
#pragma once
#include "base/setting.h"

enum muc_creators { CREATE_EVERYONE, CREATE_ACCOUNTS, CREATE_ADMINISTRATORS };

/* NULL-terminated, for the table of the feature. */
extern struct setting *const muc_settings[];

/* Rooms of the service. */
extern struct setting muc_persistent;     /* bool: rooms may be persistent */
extern struct setting muc_rooms_max;      /* rooms of all kinds */
extern struct setting muc_persistent_max; /* persistent ones of them */
extern struct setting muc_rooms_per_user; /* those that one user made */
extern struct setting muc_create;         /* enum muc_creators */
extern struct setting muc_create_home;    /* bool: only accounts whose home is this cluster */
extern struct setting muc_lock_timeout;   /* ms: a new room waits for its configuration; 0: not */

/* Limits that hold for all rooms. */
extern struct setting muc_occupants_max, muc_hidden_max;
extern struct setting muc_history_max;
extern struct setting muc_affiliations_max, muc_affiliations_bytes, muc_history_bytes;
extern struct setting muc_subject_bytes, muc_nick_bytes, muc_presence_bytes;
extern struct setting muc_message_rate, muc_message_burst; /* of one occupant; rate: a second */
extern struct setting muc_password_failures; /* of one user, within muc_password_time */
extern struct setting muc_password_failures_per_room, muc_password_time;
extern struct setting muc_look_alike;                   /* bool: nicks must not look alike */
extern struct setting muc_ping_after, muc_ping_timeout; /* ms: occupants on other servers */
extern struct setting muc_unload_after; /* ms: a persistent room that is empty leaves memory */

/* Configuration of new rooms; and, with _owner_, whether owners may change it. */
extern struct setting muc_new_persistent;
extern struct setting muc_new_members_only, muc_owner_members_only;
extern struct setting muc_new_moderators_invite, muc_owner_moderators_invite;
extern struct setting muc_new_self_add, muc_owner_self_add;
extern struct setting muc_new_absent_visible, muc_owner_absent_visible;
extern struct setting muc_new_groupchat1, muc_owner_groupchat1;
extern struct setting muc_new_anonymous, muc_owner_anonymous;
extern struct setting muc_new_moderated, muc_owner_moderated;
extern struct setting muc_new_occupants, muc_owner_occupants;
extern struct setting muc_new_private_messages, muc_owner_private_messages;
extern struct setting muc_new_subject, muc_owner_subject;
extern struct setting muc_new_strip_xhtml, muc_owner_strip_xhtml;
extern struct setting muc_new_history, muc_owner_history;
extern struct setting muc_archive, muc_archive_joins, muc_owner_archive;
/* Impacts from muc/state/store.h, whose tables they count. */
extern const struct setting_impact muc_affiliations_above, muc_creators_above;
