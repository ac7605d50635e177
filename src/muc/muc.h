/* muc: the features of group chat, for app/features.c, and the numbers that homes tell each other
 * of rooms. Sections are of XEP-0045. */
#pragma once
#include "core/feature.h"

/* They travel (home/message.h). */

/* For a FAN_ROOM_BOOKMARK: whether the user has a nickname registered. */
enum registered { REGISTERED_NOT = 0, REGISTERED = 1 };
/* Verdict on a room that may have to go, muc/operate/cleanup.c. */
enum verdict_of_room {
    ROOM_USED = 0,
    ROOM_UNUSED = 1,
    ROOM_STAYS = 2 /* it could not be destroyed */
};

extern const struct feature muc_service_feature;        /* the domains, and what they answer */
extern const struct feature muc_feature;                /* rooms: §6, §7 */
extern const struct feature muc_admin_feature;          /* roles and affiliations: §8, §9 */
extern const struct feature muc_owner_feature;          /* configuration, the end of a room: §10 */
extern const struct feature muc_register_feature;       /* §7.10 */
extern const struct feature muc_follow_feature;         /* members who hear while they are away */
extern const struct feature muc_mention_feature;        /* push when mentioned */
extern const struct feature muc_bookmark_feature;       /* of those who registered */
extern const struct feature muc_moderate_feature;       /* XEP-0425 */
extern const struct feature muc_vcard_feature;          /* XEP-0486 */
extern const struct feature muc_hats_feature;           /* XEP-0317 */
extern const struct feature muc_query_feature;          /* XEP-0313: who asks the archive */
extern const struct feature room_archive_feature;       /* XEP-0313: muc/archive/archive.h */
extern const struct feature muc_ping_feature;           /* asks occupants of other servers */
extern const struct feature muc_remote_feature;         /* servers of occupants that are lost */
extern const struct feature muc_remote_seats_feature;   /* their seats outlast a restart */
extern const struct feature muc_missed_feature;         /* presence that was not sent is, later */
extern const struct feature muc_removed_feature;        /* who was removed is told, later */
extern const struct feature muc_leavers_feature;        /* accounts that are deleted */
extern const struct feature muc_administrators_feature; /* owners of all rooms */
extern const struct feature muc_alias_feature;          /* further domains */
extern const struct feature muc_operate_feature; /* commands `room …`: muc/operate/operate.h */
extern const struct feature muc_reach_feature;   /* how commands come to rooms */
extern const struct feature muc_cleanup_feature; /* command `room cleanup`, and by time */
extern const struct feature muc_file_feature;    /* `room export` and `room import` */
extern const struct feature muc_metrics_feature;
