/* settings_statements: of the history and of candidates. At the home of DUTY_SETTINGS. */
#pragma once
#include "admin/settings/settings_private.h"

extern struct store_stmt settings_version_put, settings_version_item, settings_version_trim,
    settings_item_trim, settings_version_state, settings_versions_last, settings_version_read,
    settings_version_items, settings_compared, settings_listed, settings_touched,
    settings_timed_items, settings_timed_del, settings_timed_put, settings_candidate_put,
    settings_candidate_del, settings_candidate_clear, settings_candidate_all,
    settings_versions_beyond, settings_version_gone;
