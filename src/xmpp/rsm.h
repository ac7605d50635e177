/* rsm: Result Set Management (XEP-0059): which page of an ordered set is asked for, and the <set/>
 * of the answer. Pure.
 *
 * Limit: an id has at most RSM_ID_MAX bytes. */
#pragma once
#include "base/slice.h"

struct arena;
struct xml_write;
struct elem;

enum { RSM_ID_MAX = 3071 };

enum rsm_place {
    RSM_FIRST,  /* nothing is said: the page at the begin */
    RSM_AFTER,  /* the page that follows `id` */
    RSM_BEFORE, /* the page that precedes `id` */
    RSM_LAST,   /* <before/>: the page at the end (§2.5) */
    RSM_INDEX,  /* the page that starts at `index` (§2.6) */
};

struct rsm {
    enum rsm_place place;
    slice id;       /* RSM_AFTER, RSM_BEFORE; not empty */
    uint32_t index; /* RSM_INDEX */
    uint32_t max;   /* UINT32_MAX: not said; 0: only the count is wanted (§2.7) */
};

/* Reads the <set/> that is a child of `parent`; without one the first page is asked for, of any
 * size. false: it is malformed (bad-request), *why says how. */
bool rsm_parse(struct rsm *out, const struct elem *parent, struct arena *tmp, const char **why);

/* Where the page lies in `count` items that are at hand: [*from, *from + *len). `at`: the position
 * of `id`, anything from `count` on if it is unknown; not looked at for other places. `max` bounds
 * the page further. false: `id` is unknown (item-not-found, §2.4). */
bool rsm_window(const struct rsm *r, size_t count, size_t at, size_t max, size_t *from,
                size_t *len);

struct rsm_page {
    slice first, last; /* ids; empty page: both empty */
    int64_t index;     /* of `first`; -1: not known */
    int64_t count;     /* of the whole set; -1: not known */
};
void rsm_write(struct xml_write *x, const struct rsm_page *page);
