/* pie: finds the users in a file of the portable format of accounts (XEP-0227), which may be
 * larger than memory: <server-data/> with <host/>s with <user/>s, or one <host/>, or one <user/>,
 * and what includes others (§5). It sees only where elements begin and end; what it gives is
 * checked as XML by its reader. If that is allowed, it finds users of Openfire as well, each a
 * <User/> in <Openfire/>. Pure.
 *
 * Limits: PIE_ELEMENT_MAX bytes of an element, PIE_DEPTH_MAX elements inside each other (of the
 * reader), PIE_TAG_MAX of a start tag above users. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

enum { PIE_ELEMENT_MAX = 128 << 20, PIE_DEPTH_MAX = 128, PIE_TAG_MAX = 4096, PIE_HOST_MAX = 1024 };
#define NS_PIE     "urn:xmpp:pie:0"
#define NS_PIE_OLD "http://www.xmpp.org/extensions/xep-0227.html#ns"
/* The element of keys: mechanism, iter-count, salt, server-key, stored-key. */
#define NS_PIE_SCRAM "urn:xmpp:pie:0#scram"
/* What the format has no element for (docs/import.md): <disabled/>, <continues/>, <refused/> and
 * <lost/> with a sentence, and in the element of keys <other-form/> with server-key and stored-key.
 */
#define NS_PIE_MORE "urn:muster:pie:0"

enum pie_unit {
    PIE_MORE,    /* the unit is not complete: call again with the same bytes and more */
    PIE_USER,    /* unit: a <user/>, or a <User/> */
    PIE_INCLUDE, /* unit: what `href` it has */
    PIE_OTHER,   /* unit: the name of an element that is left out */
    PIE_END,     /* of the root */
    PIE_ERROR    /* why says what is wrong */
};

struct pie {
    unsigned depth; /* 0: before the root; 1: in <server-data/>; 2: in <host/> */
    bool begun;     /* the first bytes of the file were looked at */
    bool host_is_root, over;
    bool openfire;           /* <Openfire/> may be the root; set after pie_init() */
    char host[PIE_HOST_MAX]; /* its jid, as written; a file that is included has that of its outer
                                one */
    char ns[64];             /* the default namespace of users */
    struct why why;
};

void pie_init(struct pie *p, const struct pie *outer); /* outer NULL: it is the first file */
/* Reads at most one unit; `used` bytes go from the front. last: there are no more bytes. */
enum pie_unit pie_next(struct pie *p, slice buf, bool last, size_t *used, slice *unit);
/* The value of an attribute without prefix of the start tag that `tag` begins with, as written. */
slice pie_attr(slice tag, slice name);
