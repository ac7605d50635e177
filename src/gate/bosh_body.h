/* bosh_body: the <body/> of a BOSH request (XEP-0124 §5, XEP-0206). Pure: text in, values out. */
#pragma once
#include "base/slice.h"
#include "codec/xml_elem.h"

struct arena;
struct xml_work;

enum { BOSH_BODY_MAX = 1 << 20 /* bytes */ };
#define BOSH_RID_MAX 9007199254740991 /* XEP-0124 §14.1 */

struct bosh_body {
    struct elem elem; /* for its children; borrows the text */
    int64_t rid;
    slice sid, to, from, lang, version, ver, content, key, newkey; /* ptr NULL: absent */
    int64_t wait, hold, pause, ack;                                /* -1: absent */
    bool terminate, restart;
    bool own_prefixes; /* it declares prefixes that its children may use */
};

/* false: not one well-formed <body/> of the namespace with a rid, or a number in it is none. The
 * slices live in the text or in `tmp`. */
bool bosh_body_read(struct bosh_body *out, slice text, struct xml_work *work, struct arena *tmp);
