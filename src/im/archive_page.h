/* archive_page: sends the messages that a query found (im/archive_query.h) to an address anywhere,
 * as somebody who keeps no credit for it: nothing is sent before all of it is read, and what one
 * query sends is bounded, so that the rest is asked for as the next page.
 *
 * Limits: ARCHIVE_PAGE_MAX messages; ARCHIVE_PAGE_BYTES of their texts, but always one message. */
#pragma once
#include "base/err.h"
#include "im/archive_query.h"
#include "xmpp/stanza.h"

enum { ARCHIVE_PAGE_MAX = 1000, ARCHIVE_PAGE_BYTES = 256 << 10 };

struct archive_page {
    const struct archive_query *query; /* that found something; the caller's, like all, until done()
                                        */
    slice from, to;
    /* Writes what stands inside <forwarded/> behind <delay/>. text: as stored; from the database.
     */
    void (*write)(const struct archive_page *p, struct buf *out, slice text);
    /* Once, never from inside archive_page_send(). Not OK: nothing was sent. */
    void (*done)(struct archive_page *p, enum err e);
    /* Result: which of those found it is, for archive_fin_write(). */
    uint32_t first, count;
    /* In between. */
    uint32_t read;
    size_t bytes;
    struct stanza **st; /* of those found */
};
void archive_page_send(struct archive_page *p);
