/* import_marks: what the next import of a source has to know of one that was interrupted: which
 * accounts it has made whose groups were not all made yet, and which groups are not ready. On the
 * worker that imports. */
#pragma once
#include "base/slice.h"
#include "store/store.h"

struct account;

/* In the transaction that makes the account. */
void import_mark_account(struct store_batch *b, int64_t owner, slice source);
/* All groups of the source are made: its accounts are new no longer. */
void import_marks_end(struct store_batch *b, slice source);
void import_marks_removing(struct account *a, struct store_batch *b);

void import_mark_group(struct store_batch *b, slice name);
void import_mark_group_ready(struct store_batch *b, slice name);
void import_mark_look(struct store_batch *b, slice name); /* a row: it is not ready */

#define IMPORT_MARKS_STMTS                                                                         \
    &import_marks_account, &import_marks_over, &import_marks_removed, &import_marks_group,         \
        &import_marks_group_ready, &import_marks_look
extern struct store_stmt import_marks_account, import_marks_over, import_marks_removed,
    import_marks_group, import_marks_group_ready, import_marks_look;
