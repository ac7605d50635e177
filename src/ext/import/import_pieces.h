/* import_pieces: an account with a long archive is several <user/> of one name, one behind the
 * other, so that nobody needs memory for all of it. Each but the last has <continues/>, and nothing
 * but messages; the account is made with the last (docs/import.md). Until then its rows are those
 * of an account that does not come to be (import_store.h). On the worker that imports. */
#pragma once
#include "account/account_life.h"
#include "core/portable.h"
#include "store/store.h"

struct import;
struct import_user;
struct worker;

struct import_pieces {
    slice jid;           /* whose piece was the last user of the source; empty: nobody's */
    bool left_out;       /* so is the rest: refused, or there already */
    bool noted;          /* rows of it are stored */
    int64_t id;          /* in a dry run: of the account that is there; 0: none */
    uint64_t last_entry; /* core/portable.h */
    int64_t offline;
    bool marked, replaces, disabled; /* of its struct import_user */
    struct user_profile profile;
};

/* Whether the account under way is to be refused, since its last piece is missing: the step begins
 * with another user, or there are no more users. The pieces that are stored are removed then, and
 * also if the import ends. */
bool import_pieces_broken(struct import *x, struct import_user *lost);

/* Whether the user is a further piece of the account under way; if that is left out, the user has
 * no address any more. */
bool import_piece_follows(struct import *x, struct import_user *u);
/* The first piece of an account that may be imported: it is left out unless it is kept. */
void import_piece_begins(struct import *x, const struct import_user *u);
/* The user is refused, with it the pieces before it and those behind it. */
void import_piece_refused(struct import *x, const struct import_user *u);
/* The piece is stored, or would be; noted: rows of the account are stored. */
void import_piece_kept(struct import *x, const struct import_user *u, bool noted);

/* Removes what is stored of an account that does not come to be. The import ends behind that, so
 * that a command after it finds these rows among those of deleted accounts. */
void import_abandon(struct import *x, int64_t owner);

#define IMPORT_STORE_STMTS                                                                         \
    &import_part_note, &import_part_done, &import_part_abandon, &import_part_abandon_all,          \
        &import_part_done_all
extern struct store_stmt import_part_note, import_part_done, import_part_abandon,
    import_part_abandon_all, import_part_done_all;
