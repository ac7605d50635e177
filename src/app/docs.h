/* docs: docs/config.md, docs/commands.md, docs/xeps.md and doap.xml, made from the rows (`make
 * docs`). */
#pragma once

struct buf;

enum { DOCS_BYTES_MAX = 1 << 20 };

void docs_config(struct buf *out);
void docs_commands(struct buf *out);
void docs_xeps(struct buf *out);
void docs_doap(struct buf *out);
