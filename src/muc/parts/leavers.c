/* leavers: an account that is deleted loses its affiliations and hats with all rooms: the rows go
 * with the account, then the rooms that are in memory forget it. A room whose last owner is gone
 * stays; operators give it another (`room owner`). */
#include "account/account.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "core/feature.h"
#include "home/here.h"
#include "muc/muc.h"
#include "muc/people/affiliation.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "muc/state/change.h"
#include "store/store.h"
#include "xmpp/muc.h"
#include <assert.h>

static struct store_stmt forget_stmt = {
    .name = "room.forget-account",
    .sql = "DELETE FROM room_affiliation WHERE jid = $1",
    .params = "t",
    .cols = "",
};
static struct store_stmt leavers_stmt_sole = {
    .name = "room.sole-owner",
    .sql = "SELECT count(*) FROM room_affiliation o WHERE o.jid = $1 AND o.affiliation = 4 "
           "AND NOT EXISTS (SELECT 1 FROM room_affiliation x WHERE x.room = o.room "
           "AND x.affiliation = 4 AND x.jid <> $1)",
    .params = "t",
    .cols = "i",
};
static_assert(AFF_OWNER == 4, "room.sole-owner has it as a number");
static const struct store_migration none[] = { { 0 } };
static const struct store_schema schema = {
    .feature = "muc_leavers",
    .migrations = none,
    .stmts = (struct store_stmt *const[]){ &forget_stmt, &leavers_stmt_sole, NULL },
};

static void leavers_removing(struct account *a, struct store_batch *b)
{
    ensure(account_here(a));
    if (!account_is_served(a))
        return;
    STORE_ADD(b, &forget_stmt, STORE_ANY_ROWS, SV_T(a->jid));
    ROOM_EMIT(forget_rows, b, a->jid);
}

static void leavers_forget(struct room *r, slice bare)
{
    ensure(room_here(r));
    ROOM_EMIT(forget, r, bare);
    struct affiliation_edit edit = { .jid = bare, .affiliation = AFF_NONE };
    if (room_affiliate(r, bare) != NULL || r->changes_due > 0) /* a change under way may add it */
        room_commit(r, &(struct room_delta){ .edit = &edit, .edit_count = 1, .ownerless = true },
                    NULL, NULL);
}

static void leavers_forget_ready(struct room *r, void *bare)
{
    leavers_forget(r, *(const slice *)bare);
}

/* It may have read the row before it went: who gets the name next must not have its affiliation. */
static void leavers_loaded(struct room *r, enum err e, void *arg)
{
    slice *bare = arg;
    if (e == OK && r->state == ACTOR_READY)
        leavers_forget(r, *bare);
    mem_free(&bare);
}

static void forget_loading(struct room *r, void *bare)
{
    room_when_loaded(r, leavers_loaded, slice_box(*(const slice *)bare));
}

static void leavers_account_deleted(struct worker *w, slice bare)
{
    if (!node_serves(worker_node(w), jid_split(bare).domain))
        return;
    rooms_each(w, leavers_forget_ready, &bare);
    rooms_each_loading(w, forget_loading, &bare);
}

const struct feature muc_leavers_feature = {
    .name = "muc_leavers",
    .parts = PART_ROOM,
    .schema = &schema,
    .facts =
        (const struct account_fact[]){ { "rooms without another owner", &leavers_stmt_sole, 0 },
                                       { 0 } },
    .account.disown = leavers_removing,
    .account.disowned = leavers_account_deleted,
};
