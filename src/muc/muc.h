/* muc: the features of group chat, for app/features.c. */
#pragma once
#include "im/feature.h"

extern const struct feature muc_service_feature;        /* the domains, and what they answer */
extern const struct feature muc_feature;                /* rooms: XEP-0045 §6, §7 */
extern const struct feature muc_admin_feature;          /* §8, §9: roles and affiliations */
extern const struct feature muc_ping_feature;           /* asks occupants of other servers */
extern const struct feature muc_owner_feature;          /* §10: configuration, the end of a room */
extern const struct feature muc_register_feature;       /* §7.10 */
extern const struct feature muc_bookmark_feature;       /* muc/bookmark.c */
extern const struct feature muc_mention_feature;        /* muc/mention.c */
extern const struct feature muc_follow_feature;         /* muc/follow.c */
extern const struct feature muc_moderate_feature;       /* XEP-0425 */
extern const struct feature muc_vcard_feature;          /* XEP-0486 */
extern const struct feature muc_hats_feature;           /* XEP-0317 */
extern const struct feature muc_administrators_feature; /* muc/administrators.h */
extern const struct feature muc_alias_feature;          /* muc/alias.h */
extern const struct feature room_archive_feature;       /* muc/archive.h */
extern const struct feature muc_operate_feature;        /* muc/operate.h */
extern const struct feature muc_cleanup_feature, muc_leavers_feature, muc_file_feature,
    muc_metrics_feature;
