#include "xmpp/muc_history.h"
#include "codec/xml_elem.h"
#include "xmpp/datetime.h"
#include "xmpp/ns.h"

static bool muc_history_read_number(const struct elem *e, const char *name, int64_t *out)
{
    return slice_int(elem_attr_raw(e, name), out) && *out >= 0;
}

void history_ask_read(struct history_ask *out, const struct elem *x, uint64_t now_us)
{
    struct elem e;
    int64_t n, since;
    *out = (struct history_ask){ .stanzas = UINT32_MAX, .chars = UINT64_MAX };
    if (!elem_child(x, "history", NS_MUC, &e))
        return;
    if (muc_history_read_number(&e, "maxchars", &n))
        out->chars = (uint64_t)n;
    if (muc_history_read_number(&e, "maxstanzas", &n)) {
        out->many = true;
        out->stanzas = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
    }
    if (datetime_parse(elem_attr_raw(&e, "since"), &since)) {
        out->many = true;
        out->since_us = since > 0 ? (uint64_t)since : 0;
    }
    if (muc_history_read_number(&e, "seconds", &n)) {
        out->many = true;
        uint64_t from = (uint64_t)n < now_us / 1000000 ? now_us - (uint64_t)n * 1000000 : 0;
        if (from > out->since_us)
            out->since_us = from;
    }
}
