/* archive_page: sends the messages that a query found (archive/query.h) to any address, without
 * flow control. So all are read before the first is sent, and the size of a page is limited; the
 * rest is on the next page.
 *
 * Limits: ARCHIVE_PAGE_MAX messages; ARCHIVE_PAGE_BYTES of their texts, but always one message. */
#pragma once
#include "archive/query.h"
#include "base/err.h"
#include "xmpp/stanza.h"

enum { ARCHIVE_PAGE_MAX = 1000, ARCHIVE_PAGE_BYTES = 256 << 10 };

struct archive_page {
    const struct archive_query *query; /* that found something; the caller's, like all, until done()
                                        */
    slice from, to;
    /* Writes what stands inside <forwarded/> behind <delay/>. text: as stored; from the database.
     */
    void (*write)(const struct archive_page *p, struct xml_write *x, slice text);
    /* Once, never from inside archive_page_send(). Not OK: nothing was sent. */
    void (*done)(struct archive_page *p, enum err e);
    /* Result: which of those found it is, for archive_fin_write(). */
    uint32_t first, count;
    /* In between. */
    uint32_t read, rows; /* rows: of a part */
    size_t bytes;
    struct stanza **st; /* of those found */
};
void archive_page_send(struct archive_page *p);
