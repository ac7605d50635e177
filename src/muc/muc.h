/* muc: the features of group chat, for app/features.c. */
#pragma once
#include "im/feature.h"

extern const struct feature muc_service_feature, muc_feature, muc_admin_feature,
    muc_register_feature;
extern const struct feature muc_administrators_feature; /* muc/administrators.h */
extern const struct feature muc_alias_feature;          /* muc/alias.h */
extern const struct feature muc_owner_feature;          /* §10: configuration, the end of a room */
extern const struct feature room_archive_feature;       /* muc/archive.h */
extern const struct feature muc_operate_feature;        /* muc/operate.h */
