/* mam: Message Archive Management (XEP-0313) as text: what a query asks for, and the elements of
 * its answers. Whose archive it is, and who may ask, is not known here. Pure.
 *
 * Limits: MAM_IDS_MAX ids in a query, MAM_QUERY_ID_MAX bytes of its queryid. */
#pragma once
#include "xmpp/jid.h"
#include "xmpp/stanza_error.h"

struct arena;
struct xml_write;
struct elem;

#define MAM_FULLTEXT_FIELD "{urn:xmpp:fulltext:0}fulltext"

enum { MAM_IDS_MAX = 256, MAM_QUERY_ID_MAX = 1023 };

/* An id that the query names, which must be in the archive (§4.1.3, §4.3.2). */
enum mam_want_as { MAM_WANT_ID, MAM_WANT_AFTER, MAM_WANT_BEFORE };
struct mam_want {
    uint64_t id;
    enum mam_want_as as;
};

struct mam_query {
    slice id;                 /* queryid; ptr NULL: none */
    int64_t start_us, end_us; /* inclusive */
    struct jid with;          /* full.len 0: anybody */
    uint64_t after, before;   /* archive ids, exclusive */
    unsigned id_count;        /* so many of `want`, the first, are asked for one by one; 0: all */
    unsigned want_count;
    struct mam_want want[MAM_IDS_MAX + 4];
    slice words;    /* full text (XEP-0431); empty: not asked for */
    uint32_t limit; /* messages of the page; 0: only the count is asked for (XEP-0059 §2.7) */
    bool backwards; /* the page ends at `before` or at the end of the archive */
    bool open;      /* the page is at an end of the archive: its count may be that of all */
    bool flip;      /* the other order within the page (§4.3.5) */
    enum stanza_error error; /* SE_NONE: nothing is wrong with it */
    slice text;              /* says what is */
};

struct mam_limits {
    uint32_t page, page_max; /* messages: where the query does not say, and at most */
};
/* Reads <query/>. The result borrows the text, or has it in the arena. */
void mam_query_read(struct mam_query *out, const struct elem *query, struct mam_limits limits,
                    struct arena *tmp);

/* The form of what may be asked for (§4.1.5), as the content of the answer. */
void mam_form_write(struct xml_write *x);

/* A message of the page (§4.2): text as stanza_store() wrote it; what does not begin like a message
 * was taken out of the archive, and nothing is forwarded (§3.2). */
void mam_result_write(struct xml_write *x, const struct mam_query *q, uint64_t id, uint64_t at_us,
                      slice text);
/* The same in two parts, for callers that write the content of <forwarded/> after <delay/>
 * themselves. */
void mam_result_open(struct xml_write *x, const struct mam_query *q, uint64_t id, uint64_t at_us);
void mam_result_close(struct xml_write *x);

/* The end of a page. */
struct mam_fin {
    uint64_t first, last; /* ids; 0: the page is empty */
    int64_t count;        /* of all that match; -1: not known */
    bool complete;
    bool unstable; /* it may be another later (§4.3.2) */
};
void mam_fin_write(struct xml_write *x, const struct mam_fin *fin);

/* Metadata (§4.4) of the first and the last message. */
struct mam_end {
    uint64_t id, at_us;
};
void mam_metadata_write(struct xml_write *x, const struct mam_end *first,
                        const struct mam_end *last);
