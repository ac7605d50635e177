/* settings_statements: statements of the history and of candidates. A value NULL is the default.
 * Secrets are sealed in the context of their setting, as in the table `setting`. */
#include "admin/settings/settings_statements.h"

#define STMT(var, label, text, in, out)                                                            \
    struct store_stmt var = { .name = "setting." label, .sql = text, .params = in, .cols = out }

STMT(settings_version_put, "version-put",
     "INSERT INTO setting_version (id, at_us, actor, kind, comment, state, confirm_by_us) "
     "VALUES ($1, $2, $3, $4, $5, $6, $7)",
     "iittttI", "");
STMT(settings_version_item, "version-item",
     "INSERT INTO setting_change (version, name, was, became) VALUES ($1, $2, $3, $4)", "itTT", "");
STMT(settings_version_trim, "version-trim", "DELETE FROM setting_version WHERE id <= $1", "i", "");
STMT(settings_item_trim, "item-trim", "DELETE FROM setting_change WHERE version <= $1", "i", "");
/* Versions beyond $1, with the version that is about to be written. */
STMT(settings_versions_beyond, "versions-beyond",
     "SELECT count(*) FROM setting_version WHERE id <= (SELECT max(id) FROM setting_version) + 1 - "
     "$1",
     "i", "i");
STMT(settings_version_state, "version-state",
     "UPDATE setting_version SET state = $2, ended_by = $3 WHERE id = $1 AND state = 'waits'",
     "itt", "");
STMT(settings_versions_last, "versions-last",
     "SELECT id, state, at_us, COALESCE(confirm_by_us, 0) FROM setting_version "
     "WHERE state = 'waits' OR id = (SELECT max(id) FROM setting_version) ORDER BY id DESC LIMIT 2",
     "", "itii");
#define VERSION_COLUMNS                                                                            \
    "v.id, v.at_us, v.actor, v.kind, v.comment, v.state, COALESCE(v.confirm_by_us, 0), "           \
    "(SELECT count(*) FROM setting_change c WHERE c.version = v.id)"
STMT(settings_version_read, "version-read",
     "SELECT " VERSION_COLUMNS " FROM setting_version v WHERE v.id = $1", "i", "iittttii");
STMT(settings_listed, "versions",
     "SELECT " VERSION_COLUMNS " FROM setting_version v WHERE v.id < $1 AND (CAST($2 AS TEXT) = '' "
     "OR EXISTS (SELECT 1 FROM setting_change c WHERE c.version = v.id AND c.name = $2)) "
     "ORDER BY v.id DESC LIMIT $3",
     "iti", "iittttii");
STMT(settings_version_items, "version-items",
     "SELECT name, was, became FROM setting_change WHERE version = $1 ORDER BY name", "i", "tTT");
/* What each setting that was changed later had before the first of these changes, and what it has
 * behind the last one up to $2. */
STMT(
    settings_compared, "compared",
    "SELECT c.name, c.was, d.became FROM setting_change c JOIN setting_change d ON d.name = c.name "
    "WHERE c.version <= $2 AND c.version = (SELECT min(e.version) FROM setting_change e WHERE "
    "e.name = c.name AND e.version > $1) AND d.version = (SELECT max(e.version) FROM "
    "setting_change e WHERE e.name = c.name AND e.version <= $2) ORDER BY c.name",
    "ii", "tTT");
/* Version $1 and the oldest one that can be gone back to, if that is newer. */
STMT(settings_version_gone, "version-gone",
     "SELECT asked, oldest FROM (SELECT CAST($1 AS BIGINT) AS asked, min(id) - 1 AS oldest FROM "
     "setting_version) AS v WHERE oldest > asked",
     "i", "ii");
STMT(settings_touched, "touched",
     "SELECT c.name, c.version, v.at_us, v.actor FROM setting_change c JOIN setting_version v ON "
     "v.id = c.version WHERE c.version = (SELECT max(d.version) FROM setting_change d WHERE "
     "d.name = c.name)",
     "", "tiit");
/* Version $1 is undone without its settings being known. */
STMT(settings_timed_items, "timed-items",
     "INSERT INTO setting_change (version, name, was, became) SELECT CAST($2 AS BIGINT), name, "
     "became, was FROM setting_change WHERE version = $1",
     "ii", "");
STMT(settings_timed_del, "timed-del",
     "DELETE FROM setting WHERE name IN (SELECT name FROM setting_change WHERE version = $1 AND "
     "was IS NULL)",
     "i", "");
STMT(settings_timed_put, "timed-put",
     "INSERT INTO setting (name, value) SELECT name, was FROM setting_change WHERE version = $1 "
     "AND was IS NOT NULL ON CONFLICT (name) DO UPDATE SET value = excluded.value",
     "i", "");
STMT(settings_candidate_put, "candidate-put",
     "INSERT INTO setting_candidate (owner, name, value, base, at_us) VALUES ($1, $2, $3, $4, $5) "
     "ON CONFLICT (owner, name) DO UPDATE SET value = excluded.value, base = excluded.base, "
     "at_us = excluded.at_us",
     "ttTii", "");
STMT(settings_candidate_del, "candidate-del",
     "DELETE FROM setting_candidate WHERE owner = $1 AND name = $2", "tt", "");
STMT(settings_candidate_clear, "candidate-clear", "DELETE FROM setting_candidate WHERE owner = $1",
     "t", "");
STMT(settings_candidate_all, "candidate-all",
     "SELECT owner, name, value, base, at_us FROM setting_candidate ORDER BY owner, name", "",
     "ttTii");
