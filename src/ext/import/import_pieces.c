#include "ext/import/import_pieces.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "ext/import/import.h"
#include "ext/import/import_run.h"
#include "ext/import/import_user.h"
#include "home/duty.h"
#include "home/here.h"

/* If an account does not come to be, the part of its archive that is stored already goes as that of
 * deleted accounts does. */

struct store_stmt import_part_note = {
    .name = "import.note",
    .sql = "INSERT INTO import_part(owner, jid) VALUES($1, $2) ON CONFLICT(owner) DO NOTHING",
    .params = "it",
    .cols = "",
};

struct store_stmt import_part_done = {
    .name = "import.unnote",
    .sql = "DELETE FROM import_part WHERE owner = $1",
    .params = "i",
    .cols = "",
};
struct store_stmt import_part_abandon = {
    .name = "import.abandon",
    .sql = "INSERT INTO former(jid, id) SELECT jid, owner FROM import_part WHERE owner = $1"
           " ON CONFLICT DO NOTHING",
    .params = "i",
    .cols = "",
};
struct store_stmt import_part_abandon_all = {
    .name = "import.abandon-all",
    .sql = "INSERT INTO former(jid, id) SELECT jid, owner FROM import_part WHERE owner > 0"
           " ON CONFLICT DO NOTHING",
    .params = "",
    .cols = "",
};
struct store_stmt import_part_done_all = {
    .name = "import.unnote-all",
    .sql = "DELETE FROM import_part",
    .params = "",
    .cols = "",
};

static void part_abandoned(void *arg, enum store_result result, const struct store_batch *b)
{
    struct import *x = arg;
    (void)result, (void)b; /* else the next start finds the note */
    ensure(x->abandoning > 0);
    if (--x->abandoning == 0)
        x->abandoned(x);
}

void import_abandon(struct import *x, int64_t owner)
{
    ensure(owner > 0);
    x->abandoning++;
    struct store_batch *b = store_write(worker_store(x->worker), (uint64_t)owner);
    store_read_late(b, owner); /* its entries are there, so that they are found */
    STORE_ADD(b, &import_part_abandon, STORE_ANY_ROWS, SV_I(owner));
    STORE_ADD(b, &import_part_done, STORE_ANY_ROWS, SV_I(owner));
    store_submit(b, worker_loop(x->worker), 0, part_abandoned, x);
}

void import_worker_start(struct worker *w)
{
    if (!duty_is_here(w, DUTY_ACCOUNTS))
        return;
    struct store_batch *b = store_write(worker_store(w), 0);
    store_add(b, &import_part_abandon_all, STORE_ANY_ROWS, NULL, 0);
    store_add(b, &import_part_done_all, STORE_ANY_ROWS, NULL, 0);
    store_submit(b, worker_loop(w), 0, NULL, NULL); /* else the next start does it */
}

/* Pieces. */

bool import_pieces_broken(struct import *x, struct import_user *lost)
{
    struct import_pieces p = x->pieces;
    const struct import_user *u = x->users;
    bool goes_on = u == NULL ? !x->over : slice_eq(u->jid, p.jid);
    if (p.jid.len == 0 || (goes_on && x->e == OK))
        return false;
    x->pieces = (struct import_pieces){ 0 };
    if (p.noted)
        import_abandon(x, p.id);
    *lost = (struct import_user){ .label = p.jid, .replaces = p.replaces };
    return !p.left_out && x->e == OK;
}

bool import_piece_follows(struct import *x, struct import_user *u)
{
    struct import_pieces *p = &x->pieces;
    if (u->problem != NULL || p->jid.len == 0 || !slice_eq(u->jid, p->jid))
        return false;
    u->follows = true;
    u->replaces = p->replaces;
    u->disabled |= p->disabled;
    u->profile = p->profile;
    u->id = x->dry ? p->id : 0;
    if (p->left_out)
        u->jid = (slice){ 0 };
    if (p->left_out && !u->piece)
        *p = (struct import_pieces){ 0 };
    return true;
}

void import_piece_begins(struct import *x, const struct import_user *u)
{
    ensure(x->pieces.jid.len == 0 && u->piece && !u->follows);
    x->pieces = (struct import_pieces){ .jid = slice_dup(x->lasting, u->jid), .left_out = true };
}

void import_piece_refused(struct import *x, const struct import_user *u)
{
    struct import_pieces *p = &x->pieces;
    if (!u->follows)
        return;
    if (p->noted)
        import_abandon(x, p->id);
    p->noted = false;
    p->left_out = true;
    if (!u->piece)
        *p = (struct import_pieces){ 0 };
}

void import_piece_kept(struct import *x, const struct import_user *u, bool noted)
{
    struct import_pieces *p = &x->pieces;
    ensure(u->piece && slice_eq(p->jid, u->jid));
    p->left_out = false;
    p->noted = noted;
    p->id = u->id;
    if (u->follows)
        return;
    p->replaces = u->replaces;
    p->disabled = u->disabled;
    p->profile = u->profile;
    slice *const texts[] = {
        &p->profile.given_name, &p->profile.surname,       &p->profile.email,
        &p->profile.department, &p->profile.directory_uri, &p->profile.template
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        *texts[i] = slice_dup(x->lasting, *texts[i]);
}
