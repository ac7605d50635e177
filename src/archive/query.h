/* archive_query: finds the messages of an archive that a query asks for (XEP-0313 §4), in two
 * steps, each a read of its own, so that a page costs memory for its ids only:
 *
 *   check   the addresses and ids that the query names: who is `with`, are the ids in the archive
 *   find    the ids of the page, and of one more to know whether it is complete
 *
 * Whose archive it is, an account's or a room's, is a number (architecture §7: owner); the caller
 * checks the permission. The caller also sends the result: to a session with flow control
 * (session/copies.h), or to any address (archive/page.h).
 *
 * Times: archive ids are microseconds, minted when the message came. They may be off the time of a
 * message (archive_slack_us()), so a range of times is a wider range of ids and a look at the
 * messages within.
 *
 * Limits: what the query says (xmpp/mam.h); FIND_MS; COUNT_MAX. */
#pragma once
#include "archive/words.h"
#include "store/store.h"
#include "xmpp/mam.h"

struct xml_write;

struct archive_query {
    struct worker *worker;
    int64_t owner;
    uint64_t user;               /* who asks: long reads of users take turns */
    slice room;                  /* its JID, if the owner is one; empty: an account */
    const struct mam_query *ask; /* right; the caller's, like all above, until done() */
    struct arena *tmp;           /* for the result, too */
    /* Once, perhaps from inside archive_find(). SE_NONE: it was found. */
    void (*done)(struct archive_query *q, enum stanza_error e, slice text);
    /* Result. */
    uint64_t *found; /* ids of the page, rising */
    uint32_t found_count;
    bool complete;
    int64_t count; /* of all that match; -1: not known */
    /* In between. */
    int64_t peer;                  /* account id of `with`; 0: not one of ours */
    int64_t after_msg, before_msg; /* of the log, exclusive: a search is in the log's order */
    slice match;                   /* for the full text; empty: not asked for */
    enum archive_words_state index;
};
void archive_find(struct archive_query *q);
/* A text for people: the archive could not be read. */
slice archive_unread_text(enum stanza_error e);
/* <fin/> for the ids `from` to `from + count` of those found. */
void archive_fin_write(struct xml_write *x, const struct archive_query *q, uint32_t from,
                       uint32_t count);

/* Metadata: adds a read of one statement, which needs the late rows of the owner; writes it. */
void archive_ends_add(struct store_batch *b, int64_t owner);
void archive_ends_write(struct xml_write *x, const struct store_batch *b, unsigned stmt);

extern const struct store_schema archive_query_schema;
