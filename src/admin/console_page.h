/* console_page: the web console at /admin: its page, style, script and picture. They are in the
 * program (web/admin, bundled by tools/console), so nothing is read from the disk for a request,
 * and a path is looked up in a fixed table. The console has no rights of its own: it asks the API.
 *
 * Any thread; memory does not grow. */
#pragma once

struct feature;

/* Scripts and styles of this origin only, and no text becomes markup (Trusted Types): text of users
 * cannot run, whatever page shows it. */
#define CONSOLE_POLICY                                                                             \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "                    \
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "            \
    "require-trusted-types-for 'script'; trusted-types 'none'"

extern const struct feature console_page_feature;
