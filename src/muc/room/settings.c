#include "muc/room/settings.h"

static const char *const creators[] = { "everyone", "accounts", "administrators", NULL };
static const char *const pm_levels[] = { "visitor", "participant", "moderator", NULL };
static const char *const subject_levels[] = { "participant", "moderator", NULL };

enum { HOUR_MS = 3600 * 1000, DAY_MS = 24 * HOUR_MS };

/* Rooms of the service. */

struct setting muc_persistent = {
    .name = "muc.persistent",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Whether owners may make rooms persistent. Rooms that are persistent stay so.",
};
struct setting muc_rooms_max = {
    .name = "muc.rooms-max",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 5500,
    .min = 0,
    .max = 1000000,
    .unit = "rooms",
    .doc = "How many rooms there may be, ad hoc and persistent ones.",
};
struct setting muc_persistent_max = {
    .name = "muc.persistent-max",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 5000,
    .min = 0,
    .max = 1000000,
    .unit = "rooms",
    .doc = "How many persistent rooms there may be. They count as rooms, too (muc.rooms-max).",
};
struct setting muc_rooms_per_user = {
    .name = "muc.rooms-per-user",
    .impact = &muc_creators_above,
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 100,
    .min = 1,
    .max = 1000000,
    .allow_none = true,
    .unit = "rooms",
    .doc = "How many existing rooms one user may have made, ad hoc and persistent ones, so that "
           "one account cannot take all of muc.rooms-max. Administrators of group chat may make "
           "more, and rooms of `room create` do not count.",
};
struct setting muc_create = {
    .name = "muc.create",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_CHOICE,
    .def = CREATE_EVERYONE,
    .choices = creators,
    .doc =
        "Who may make rooms: everyone, also users of other servers and of components; accounts of "
        "this server; or administrators of group chat. Guests never may.",
};
struct setting muc_create_home = {
    .name = "muc.create-home",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .doc = "On: users of other servers and of components may enter rooms but not make them.",
};
struct setting muc_lock_timeout = {
    .name = "muc.lock-timeout",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 5 * 60 * 1000,
    .min = 0,
    .max = DAY_MS,
    .doc = "How long a new room is closed to others while its owner has not configured it. Then it "
           "opens with the default configuration if an owner is in it, and is destroyed otherwise. "
           "It also opens when an owner speaks in it. 0: new rooms are open at once, for clients "
           "that never send a configuration.",
};

/* Limits that hold for all rooms. */

struct setting muc_occupants_max = {
    .name = "muc.occupants-max",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 1000,
    .min = 1,
    .max = 100000,
    .unit = "occupants",
    .doc = "How many users can be in a room at one time, hidden ones included.",
};
struct setting muc_hidden_max = {
    .name = "muc.hidden-max",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 1000,
    .min = 0,
    .max = 100000,
    .unit = "occupants",
    .doc = "How many hidden users can be in a room at one time: they see messages and others' "
           "presence, are not seen, and cannot send. A new room takes this value.",
};
struct setting muc_history_max = {
    .name = "muc.history-max",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 100,
    .min = 0,
    .max = 1000,
    .unit = "messages",
    .doc =
        "How many messages of a room one request may get, on entering or from its archive. A new "
        "room takes this value for its owner to lower.",
};
struct setting muc_affiliations_max = {
    .name = "muc.affiliations-max",
    .impact = &muc_affiliations_above,
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 100000,
    .min = 1,
    .max = 1000000,
    .unit = "addresses",
    .doc = "How many owners, administrators, members and outcasts a room may have.",
};
struct setting muc_affiliations_bytes = {
    .name = "muc.affiliations-bytes",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 16 << 20,
    .min = 64 << 10,
    .max = 1 << 30,
    .doc = "How much memory the lists of owners, administrators, members and outcasts may take, of "
           "all rooms together that one user has made and that are in use: some 200 bytes for each "
           "address, and more for long addresses, nicknames or reasons. The cards of ad hoc rooms "
           "count, too. More are refused with resource-constraint. Rooms that operators or "
           "administrators of group chat have made count one by one.",
};
struct setting muc_history_bytes = {
    .name = "muc.history-bytes",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 4 << 20,
    .min = 64 << 10,
    .max = 1 << 30,
    .doc = "How many bytes of messages the rooms that one user has made keep in memory together, "
           "for those who enter. Beyond it a room keeps 16 KiB, whatever muc.history-max is. Rooms "
           "of administrators of group chat keep 256 KiB each.",
};
struct setting muc_subject_bytes = {
    .name = "muc.subject-bytes",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 4096,
    .min = 64,
    .max = 65536,
    .doc = "The largest subject of a room.",
};
struct setting muc_nick_bytes = {
    .name = "muc.nick-bytes",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 256,
    .min = 16,
    .max = 1023,
    .doc = "The longest nickname in a room.",
};
struct setting muc_presence_bytes = {
    .name = "muc.presence-bytes",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 16384,
    .min = 1024,
    .max = 1048576,
    .doc = "The largest presence of an occupant. It is sent to everybody who enters. A larger "
           "presence is refused with not-acceptable.",
};
struct setting muc_message_rate = {
    .name = "muc.message-rate",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 20,
    .min = 1,
    .max = 100000,
    .allow_none = true,
    .unit = "messages a second",
    .doc =
        "How fast an occupant can send to a room over time. Faster messages are refused with "
        "policy-violation. Changes of the nickname count as well, and ten requests to other "
        "occupants count as one message. If presence changes faster, only the last one is shown. "
        "Leaving and entering again faster than that is refused, too.",
};
struct setting muc_message_burst = {
    .name = "muc.message-burst",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 100,
    .min = 1,
    .max = 100000,
    .unit = "messages",
    .doc = "How many messages an occupant may send at once before muc.message-rate counts.",
};
struct setting muc_password_failures = {
    .name = "muc.password-failures",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 10,
    .min = 1,
    .max = 100000,
    .allow_none = true,
    .unit = "wrong passwords",
    .doc = "Wrong passwords for one room that a user may give within muc.password-time. After "
           "that, the room refuses every password of this user for a while, right or wrong, so "
           "that nobody finds one by trying. With a lower value guessing is harder, but users who "
           "mistype the password wait longer.",
};
struct setting muc_password_failures_per_room = {
    .name = "muc.password-failures-per-room",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 100,
    .min = 1,
    .max = 1000000,
    .allow_none = true,
    .unit = "wrong passwords",
    .doc = "Wrong passwords for one room of all users together within muc.password-time. After "
           "that, only owners, administrators and members of the room may enter it for a while.",
};
struct setting muc_password_time = {
    .name = "muc.password-time",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 10 * 60 * 1000,
    .min = 1000,
    .max = DAY_MS,
    .doc =
        "The time to which muc.password-failures and muc.password-failures-per-room apply: after "
        "a tenth of it a user has a tenth of the attempts again.",
};
struct setting muc_look_alike = {
    .name = "muc.look-alike",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Whether a nickname is refused that looks like that of another occupant or member, as "
           "with a Cyrillic letter for a Latin one.",
};
struct setting muc_ping_after = {
    .name = "muc.ping-after",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 30 * 60 * 1000,
    .min = 1000,
    .max = 7 * (int64_t)DAY_MS,
    .allow_none = true,
    .doc = "How often an occupant whose address is at the domain of a component or of another "
           "server is asked whether it is still there.",
};
struct setting muc_ping_timeout = {
    .name = "muc.ping-timeout",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 60 * 1000,
    .min = 1000,
    .max = HOUR_MS,
    .doc = "How long such an occupant (muc.ping-after) may take to answer before it is removed "
           "from the room.",
};

struct setting muc_unload_after = {
    .name = "muc.unload-after",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 60 * 1000,
    .min = 1000,
    .max = 24 * HOUR_MS,
    .doc = "How long a persistent room stays in memory when nobody is in it and nobody asks for "
           "it. It is loaded again when it is needed.",
};

/* Configuration of new rooms, and what owners may change. */

struct setting muc_new_persistent = {
    .name = "muc.new-persistent",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .doc = "Whether new rooms are persistent unless their owner configures something else: for "
           "clients that cannot configure rooms. Needs muc.persistent.",
};
struct setting muc_new_members_only = {
    .name = "muc.new-members-only",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .doc = "Whether new rooms are for members only.",
};
struct setting muc_owner_members_only = {
    .name = "muc.owner-members-only",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Whether room owners can change whether or not rooms are for members only.",
};
struct setting muc_new_moderators_invite = {
    .name = "muc.new-moderators-invite",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Whether only moderators can invite people to members-only rooms that are new; off: "
           "members, too.",
};
struct setting muc_owner_moderators_invite = {
    .name = "muc.owner-moderators-invite",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Whether room owners can change whether or not only moderators can invite people.",
};
struct setting muc_new_self_add = {
    .name = "muc.new-self-add",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .doc =
        "Whether users can add themselves to new rooms as members. Off: owners decide about each "
        "request.",
};
struct setting muc_owner_self_add = {
    .name = "muc.owner-self-add",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .doc = "Whether room owners can change whether users can add themselves as members.",
};
struct setting muc_new_absent_visible = {
    .name = "muc.new-absent-visible",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Whether members and administrators who are not in a room are still visible in it.",
};
struct setting muc_owner_absent_visible = {
    .name = "muc.owner-absent-visible",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Whether room owners can change whether absent members and administrators are visible.",
};
struct setting muc_new_groupchat1 = {
    .name = "muc.new-groupchat1",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .doc = "Whether new rooms are backwards-compatible with clients of group chat 1.0.",
};
struct setting muc_owner_groupchat1 = {
    .name = "muc.owner-groupchat1",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .doc = "Whether room owners can change whether rooms are backwards-compatible.",
};
struct setting muc_new_anonymous = {
    .name = "muc.new-anonymous",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .doc = "Whether new rooms are anonymous: nicknames are shown, addresses to moderators only.",
};
struct setting muc_owner_anonymous = {
    .name = "muc.owner-anonymous",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .doc = "Whether room owners can change whether or not rooms are anonymous.",
};
struct setting muc_new_moderated = {
    .name = "muc.new-moderated",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .doc = "Whether new rooms are moderated: occupants without voice cannot send to the room.",
};
struct setting muc_owner_moderated = {
    .name = "muc.owner-moderated",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Whether room owners can change whether rooms are moderated.",
};
struct setting muc_new_occupants = {
    .name = "muc.new-occupants",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 50,
    .min = 1,
    .max = 100000,
    .not_above = &muc_occupants_max.param,
    .unit = "occupants",
    .doc = "The maximum occupancy of a new room.",
};
struct setting muc_owner_occupants = {
    .name = "muc.owner-occupants",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Whether room owners can change the maximum occupancy, up to muc.occupants-max.",
};
struct setting muc_new_private_messages = {
    .name = "muc.new-private-messages",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_CHOICE,
    .choices = pm_levels,
    .doc = "The lowest role that can send a private message from within a new room.",
};
struct setting muc_owner_private_messages = {
    .name = "muc.owner-private-messages",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Whether room owners can change the lowest role that can send a private message.",
};
struct setting muc_new_subject = {
    .name = "muc.new-subject",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_CHOICE,
    .choices = subject_levels,
    .doc = "The lowest role that can change the subject of a new room; visitors never can.",
};
struct setting muc_owner_subject = {
    .name = "muc.owner-subject",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Whether room owners can change the lowest role that can change the subject.",
};
struct setting muc_new_strip_xhtml = {
    .name = "muc.new-strip-xhtml",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .doc = "Whether new rooms remove all XHTML formatting from messages.",
};
struct setting muc_owner_strip_xhtml = {
    .name = "muc.owner-strip-xhtml",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .doc = "Whether room owners can change the removal of XHTML formatting.",
};
struct setting muc_new_history = {
    .name = "muc.new-history",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 15,
    .min = 0,
    .max = 1000,
    .not_above = &muc_history_max.param,
    .unit = "messages",
    .doc = "How many messages of a new room's history are displayed on entering, unless the client "
           "asks for another number.",
};
struct setting muc_owner_history = {
    .name = "muc.owner-history",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .doc =
        "Whether room owners can change the number of messages displayed, and the largest that a "
        "client may ask for.",
};
struct setting muc_archive = {
    .name = "muc.archive",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Whether messages of persistent rooms are archived. Off: no room has an archive. On: "
           "owners can turn the archive of their room off if muc.owner-archive allows it.",
};
struct setting muc_archive_joins = {
    .name = "muc.archive-joins",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .doc = "Whether new persistent rooms archive when users enter and leave. Operators see it with "
           "`room joins` and `room export`; clients do not see it.",
};
struct setting muc_owner_archive = {
    .name = "muc.owner-archive",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Whether room owners can change what is archived.",
};

struct setting *const muc_settings[] = {
    &muc_persistent,
    &muc_rooms_max,
    &muc_persistent_max,
    &muc_rooms_per_user,
    &muc_create,
    &muc_create_home,
    &muc_lock_timeout,
    &muc_occupants_max,
    &muc_hidden_max,
    &muc_history_max,
    &muc_affiliations_max,
    &muc_affiliations_bytes,
    &muc_history_bytes,
    &muc_subject_bytes,
    &muc_nick_bytes,
    &muc_presence_bytes,
    &muc_message_rate,
    &muc_message_burst,
    &muc_password_failures,
    &muc_password_failures_per_room,
    &muc_password_time,
    &muc_look_alike,
    &muc_ping_after,
    &muc_ping_timeout,
    &muc_unload_after,
    &muc_new_persistent,
    &muc_new_members_only,
    &muc_owner_members_only,
    &muc_new_moderators_invite,
    &muc_owner_moderators_invite,
    &muc_new_self_add,
    &muc_owner_self_add,
    &muc_new_absent_visible,
    &muc_owner_absent_visible,
    &muc_new_groupchat1,
    &muc_owner_groupchat1,
    &muc_new_anonymous,
    &muc_owner_anonymous,
    &muc_new_moderated,
    &muc_owner_moderated,
    &muc_new_occupants,
    &muc_owner_occupants,
    &muc_new_private_messages,
    &muc_owner_private_messages,
    &muc_new_subject,
    &muc_owner_subject,
    &muc_new_strip_xhtml,
    &muc_owner_strip_xhtml,
    &muc_new_history,
    &muc_owner_history,
    &muc_archive,
    &muc_archive_joins,
    &muc_owner_archive,
    NULL,
};
