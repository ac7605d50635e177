/* portable: what a feature has of an account, as elements of the portable format of accounts
 * (XEP-0227). `import` makes accounts of them, whatever the file was, and `export` writes them:
 * each feature takes and gives its own elements of a <user/>. Borrowed during the call; on a loop.
 */
#pragma once
#include "base/slice.h"
#include <stdint.h>

struct arena;
struct elem;
struct store_batch;
struct xml_write;

struct portable {
    slice jid;        /* bare, of the account */
    int64_t id;       /* of the account, which is not there yet */
    int64_t first_id; /* accounts from this id on were made after the first one of this import */
    uint64_t now_us;  /* wall clock; portable_tick() */
    /* A piece of a long archive: only what comes in pieces is asked, the account comes later, and
     * all rows are for before(). */
    bool piece;
    uint64_t last_entry; /* of the archive, in the pieces before; 0: none; the part sets it anew */
    int64_t offline;     /* messages in them that wait; so, too */
    const struct elem *user; /* checked XML */
    struct arena *tmp;
    struct store_batch
        *batch; /* the transaction that makes the account; NULL: a dry run, or a piece */
    /* One more, for rows that are too many for one. It is committed before; nobody finds its rows
     * before the account is there. If the account does not come to be, its archive is removed.
     * NULL: a dry run. */
    struct store_batch *(*before)(struct portable *p);
    /* Tells the operator what does not come along; a sentence without end. */
    void (*lost)(struct portable *p, const char *what, slice which);
};

/* A time that no other call for this user gives. */
static inline uint64_t portable_tick(struct portable *p) { return p->now_us++; }

/* An account that is written, after its own attributes. */
enum { PORTABLE_ROWS = 256 };
struct portable_out {
    slice jid;
    int64_t id;
    struct xml_write *x; /* in <user/> */
    struct arena *tmp;
    uint64_t after; /* the part's own: where it goes on; 0 at first */
    uint32_t rows;  /* a part that reads pages: at most these, at most PORTABLE_ROWS */
};

struct portable_name {
    const char *name, *ns;
};

struct portable_part {
    const struct portable_name *takes; /* elements, ended by { 0 } */
    bool in_pieces;                    /* too much for one element of a user: one part has this */
    void (*take)(struct portable *p);  /* all of them, of one user */
    /* Adds reads to a batch; then gets their results, the first of its statements being `first`,
     * and writes. true: there is more, and both are called again. NULL: it gives nothing. */
    void (*read)(const struct portable_out *o, struct store_batch *b);
    bool (*give)(struct portable_out *o, const struct store_batch *b, unsigned first);
};
