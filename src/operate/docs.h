/* docs: docs/config.md, docs/commands.md, docs/alarms.md, docs/xeps.md and doap.xml, made from the
 * rows (`make docs`). */
#pragma once

#include "base/slice.h"

struct buf;

enum { DOCS_BYTES_MAX = 1 << 21 };

void docs_config(struct buf *out);
void docs_commands(struct buf *out);
void docs_alarms(struct buf *out);
void docs_xeps(struct buf *out);
void docs_doap(struct buf *out);
void docs_man_musterd(struct buf *out);   /* musterd.8 */
void docs_man_musterctl(struct buf *out); /* musterctl.1 */
void docs_man_yaml(struct buf *out);      /* muster.yaml.5 */
/* One line of text for a manual page; `x` in it is bold. */
void docs_man_text(struct buf *out, slice text);
/* For test/promise/test_promises.py: what is promised of each kind of stanza, and each request that
 * may change something. */
void docs_promises(struct buf *out);
/* For test/stream/test_enumeration.py: each request that has a row, "get {namespace}name to
 * account". */
void docs_requests(struct buf *out);
/* For test/together: a line for each feature, "name: message presence", with what it takes part
 * in. */
void docs_features(struct buf *out);
