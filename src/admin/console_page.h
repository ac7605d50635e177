/* console_page: the web console at /admin: its page, style, script and picture. They are in the
 * program (web/admin, bundled by tools/console), so nothing is read from the disk for a request,
 * and a path is looked up in a fixed table. The console has no rights of its own: it asks the API.
 *
 * Any thread; memory does not grow. */
#pragma once

struct feature;

extern const struct feature console_page_feature;
