/* leavers: an account that is deleted loses its affiliations and hats with all rooms: the rows go
 * with the account, then the rooms in memory hear of it. A room whose last owner is gone stays;
 * operators give it another (`room owner`). */
#include "base/mem.h"
#include "im/account.h"
#include "im/feature.h"
#include "im/node.h"
#include "im/worker.h"
#include "muc/muc.h"
#include "muc/private.h"

static struct store_stmt forget_stmt = {
    .name = "room.forget-account",
    .sql = "DELETE FROM room_affiliation WHERE jid = $1",
    .params = "t",
    .cols = "",
};
static struct store_stmt hats_stmt = {
    .name = "room.forget-hats",
    .sql = "DELETE FROM room_hat WHERE jid = $1",
    .params = "t",
    .cols = "",
};
static const struct store_migration none[] = { { 0 } };
static const struct store_schema schema = {
    .feature = "muc_leavers",
    .migrations = none,
    .stmts = (struct store_stmt *const[]){ &forget_stmt, &hats_stmt, NULL },
};

static void removing(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &forget_stmt, STORE_ANY_ROWS, SV_T(a->jid));
    STORE_ADD(b, &hats_stmt, STORE_ANY_ROWS, SV_T(a->jid));
}

struct leaver {
    size_t len;
    char jid[];
};

static struct leaver *leaver_new(slice jid)
{
    struct leaver *l = mem_alloc(sizeof *l + jid.len);
    l->len = jid.len;
    memcpy(l->jid, jid.ptr, jid.len);
    return l;
}

static slice leaver_jid(const struct leaver *l) { return (slice){ l->jid, l->len }; }

static void forget(struct room *r, void *arg)
{
    room_hats_forget(r, leaver_jid(arg));
    struct affiliation_edit edit = { .jid = leaver_jid(arg), .affiliation = AFF_NONE };
    if (room_affiliate(r, edit.jid) != NULL || r->changes_due > 0) /* which may give him one */
        room_commit(r, &(struct room_delta){ .edit = &edit, .edit_count = 1, .ownerless = true },
                    NULL, NULL);
}

/* It may have read the row before it went. */
static void loaded(struct room *r, enum err e, void *arg)
{
    struct leaver *l = arg;
    if (e == OK && r->state == ROOM_READY)
        forget(r, l);
    mem_free(&l);
}

static void wait_for(struct room *r, void *arg)
{
    room_with(r->worker, r->jid, loaded, leaver_new(leaver_jid(arg)));
}

static void forget_here(struct worker *w, void *arg)
{
    rooms_each(w, forget, arg);
    rooms_each_loading(w, wait_for, arg);
}

static void told(struct worker *w, void *arg)
{
    struct leaver *l = arg;
    (void)w;
    mem_free(&l);
}

static void removed(struct account *a)
{
    node_tour(a->worker, forget_here, told, leaver_new(a->jid));
}

const struct feature muc_leavers_feature = {
    .name = "muc_leavers",
    .schema = &schema,
    .remove = removing,
    .removed = removed,
};
