/* mam_talk: an earlier message of the same author in the same conversation of an archive, which a
 * correction (XEP-0308) or a retraction (XEP-0424) names by its id. An account of ours has its
 * messages with one contact together; those with all other addresses, and all messages of a room,
 * are together under peer 0 and told apart by the address. So both the statements and
 * mam_same_talk() compare addresses.
 *
 * A search reads page by page, from the newest message on, and each page is a long read
 * (store/store.h): no login waits for it, and users take turns.
 *
 * Limits: the last MAM_LOOK_BACK entries of the conversation, those with addresses that are no
 * accounts together; a page has MAM_PAGE entries, and MAM_CANDIDATES that have the id in them. */
#pragma once
#include "archive/archive.h"
#include "xmpp/stanza.h"

struct worker;

enum { MAM_LOOK_BACK = 2000, MAM_PAGE = 250, MAM_CANDIDATES = 16 };

/* In memory of the caller, until `found` returns true or `end` is called. */
struct mam_search {
    struct worker *worker;
    void *arg;
    int64_t owner;   /* of the archive */
    slice address;   /* of the other side; in a room: of the author */
    slice id;        /* what a message has in it, as a value of XML */
    uint64_t user;   /* on whose behalf */
    uint64_t lane;   /* what was submitted on it is seen; 0: what is committed */
    uint64_t before; /* only entries with lower archive ids */
    /* A message that has the id in it, newest first. `said`: its text before it was retracted,
     * which `st` is made of; both, and the line, are borrowed for the call. true: that is it, the
     * search is over. */
    bool (*found)(struct mam_search *s, const struct archive_line *m, slice said,
                  const struct stanza *st);
    /* It was none of them, or they could not be read. */
    void (*end)(struct mam_search *s, enum store_result result);
    uint32_t looked;     /* 0 at first */
    uint32_t candidates; /* so many are read at a time; 0 at first */
};
/* The functions are called later, on the worker. */
void mam_search(struct mam_search *s);

extern struct store_stmt *const mam_talk_stmts[];

/* Whether both are of one author and for one address, in the archive of an account that `sent` or
 * received them. Addresses are compared as bare JIDs, those of occupants of a room as full ones:
 * each occupant is another author. So is the next one who takes a nickname, which the occupant id
 * (XEP-0421) shows. */
bool mam_same_talk(const struct worker *w, const struct stanza *st, const struct stanza *earlier,
                   bool sent);
