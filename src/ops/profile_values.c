#include "ops/profile_values.h"
#include "base/arena.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/similar.h"
#include "home/here.h"

#define FIELD_OF                                                                                   \
    "CASE CAST($1 AS TEXT) WHEN 'department' THEN a.department WHEN 'template' THEN a.template "   \
    "WHEN 'email' THEN a.email WHEN 'given-name' THEN a.given_name WHEN 'surname' THEN a.surname " \
    "WHEN 'directory-uri' THEN a.directory_uri WHEN 'source' THEN a.source END"

struct store_stmt profile_value_find = {
    .name = "users.profile-value-find",
    .sql = "SELECT count(*) FROM (SELECT 1 AS one FROM account a WHERE " FIELD_OF " = $2 LIMIT 1) "
           "AS found",
    .params = "tt",
    .cols = "i",
};
struct store_stmt profile_values_all = {
    .name = "users.profile-values-all",
    .sql = "SELECT DISTINCT " FIELD_OF " AS value FROM account a WHERE " FIELD_OF " <> '' "
           "ORDER BY value LIMIT 1000",
    .params = "t",
    .cols = "t",
};

struct noting {
    struct command_call *call;
    struct profile_value value[PROFILE_VALUES_MAX]; /* in the end those that no account has */
    unsigned count;
    void (*then)(void *arg);
    void *arg;
};

static void values_similar(void *arg, enum store_result result, const struct store_batch *b)
{
    const struct noting *n = arg;
    for (unsigned i = 0; result == STORE_OK && i < n->count; i++) {
        struct similar s;
        similar_init(&s, n->value[i].value);
        for (uint32_t k = 0; k < store_row_count(b, i); k++)
            similar_try(&s, store_text(b, i, k, 0));
        command_note(n->call, arena_printf(n->call->arena, "no account has %.*s=%.*s now%s",
                                           SLICE_ARG(n->value[i].field),
                                           SLICE_ARG(n->value[i].value), similar_text(&s).text));
    }
    n->then(n->arg);
}

static void values_found(void *arg, enum store_result result, const struct store_batch *b)
{
    struct noting *n = arg;
    struct worker *w = n->call->worker;
    unsigned missing = 0;
    for (unsigned i = 0; result == STORE_OK && i < n->count; i++)
        if (store_int(b, i, 0, 0) == 0)
            n->value[missing++] = n->value[i];
    n->count = missing;
    if (missing == 0) {
        n->then(n->arg);
        return;
    }
    struct store_batch *all = store_read(worker_store(w), 0);
    for (unsigned i = 0; i < missing; i++)
        STORE_ADD(all, &profile_values_all, STORE_ANY_ROWS, SV_T(n->value[i].field));
    store_submit(all, worker_loop(w), 0, values_similar, n);
}

void profile_values_note(struct command_call *call, const struct profile_value *values,
                         unsigned count, void (*then)(void *arg), void *arg)
{
    struct worker *w = call->worker;
    ensure(count > 0 && count <= PROFILE_VALUES_MAX);
    struct noting *n = arena_new(call->arena, struct noting, 1);
    *n = (struct noting){ .call = call, .count = count, .then = then, .arg = arg };
    struct store_batch *b = store_read(worker_store(w), 0);
    for (unsigned i = 0; i < count; i++) {
        n->value[i] = values[i];
        STORE_ADD(b, &profile_value_find, STORE_ANY_ROWS, SV_T(values[i].field),
                  SV_T(values[i].value));
    }
    store_submit(b, worker_loop(w), 0, values_found, n);
}
