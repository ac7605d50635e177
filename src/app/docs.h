/* docs: docs/config.md and docs/commands.md, made from the rows (`make docs`). */
#pragma once

struct buf;

enum { DOCS_BYTES_MAX = 1 << 20 };

void docs_config(struct buf *out);
void docs_commands(struct buf *out);
