#include "ext/import/import_marks.h"
#include "account/account.h"
#include "base/ensure.h"

struct store_stmt import_marks_account = {
    .name = "import.mark-account",
    .sql = "INSERT INTO import_new(owner, source) VALUES($1, $2)",
    .params = "it",
    .cols = "",
};
struct store_stmt import_marks_over = {
    .name = "import.marks-end",
    .sql = "DELETE FROM import_new WHERE source = $1",
    .params = "t",
    .cols = "",
};
struct store_stmt import_marks_removed = {
    .name = "import.marks-removing",
    .sql = "DELETE FROM import_new WHERE owner = $1",
    .params = "i",
    .cols = "",
};
struct store_stmt import_marks_group = {
    .name = "import.mark-group",
    .sql = "INSERT INTO import_group(name) VALUES($1) ON CONFLICT(name) DO NOTHING",
    .params = "t",
    .cols = "",
};
struct store_stmt import_marks_group_ready = {
    .name = "import.mark-group-ready",
    .sql = "DELETE FROM import_group WHERE name = $1",
    .params = "t",
    .cols = "",
};
struct store_stmt import_marks_look = {
    .name = "import.mark-look",
    .sql = "SELECT name FROM import_group WHERE name = $1",
    .params = "t",
    .cols = "t",
};

void import_mark_account(struct store_batch *b, int64_t owner, slice source)
{
    ensure(owner > 0 && source.len > 0);
    STORE_ADD(b, &import_marks_account, 1, SV_I(owner), SV_T(source));
}

void import_marks_end(struct store_batch *b, slice source)
{
    STORE_ADD(b, &import_marks_over, STORE_ANY_ROWS, SV_T(source));
}

void import_marks_removing(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &import_marks_removed, STORE_ANY_ROWS, SV_I(a->id));
}

void import_mark_group(struct store_batch *b, slice name)
{
    ensure(name.len > 0);
    STORE_ADD(b, &import_marks_group, STORE_ANY_ROWS, SV_T(name));
}

void import_mark_group_ready(struct store_batch *b, slice name)
{
    STORE_ADD(b, &import_marks_group_ready, STORE_ANY_ROWS, SV_T(name));
}

void import_mark_look(struct store_batch *b, slice name)
{
    STORE_ADD(b, &import_marks_look, STORE_ANY_ROWS, SV_T(name));
}
