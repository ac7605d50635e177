#include "xmpp/rsm.h"
#include "base/arena.h"
#include "base/buf.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "xmpp/ns.h"

static bool rsm_read_number(const struct elem *e, struct arena *tmp, uint32_t *out)
{
    int64_t n;
    if (!slice_int(elem_text(e, tmp), &n) || n < 0 || n >= UINT32_MAX)
        return false;
    *out = (uint32_t)n;
    return true;
}

/* before, after and index exclude each other: together they are not defined (XEP-0059 §2.6 asks for
 * an index only if no id is known; XEP-0313 §4.2 says it of the two others). */
static const char *read_place(struct rsm *r, const struct elem *e, struct arena *tmp)
{
    if (r->place != RSM_FIRST)
        return "only one of <before/>, <after/> and <index/> can be asked for";
    if (elem_is(e, "index", NS_RSM)) {
        r->place = RSM_INDEX;
        return rsm_read_number(e, tmp, &r->index) ? NULL : "<index/> is not a number";
    }
    r->id = elem_text(e, tmp);
    if (r->id.len > RSM_ID_MAX)
        return "the id is too long";
    if (elem_is(e, "before", NS_RSM))
        r->place = r->id.len > 0 ? RSM_BEFORE : RSM_LAST;
    else if (r->id.len > 0) /* an empty <after/> is before the first item, which is the default */
        r->place = RSM_AFTER;
    return NULL;
}

static const char *read_set(struct rsm *r, const struct elem *set, struct arena *tmp)
{
    struct elem e;
    for (bool more = elem_first(set, &e); more; more = elem_next(&e, &e)) {
        const char *why = NULL;
        if (elem_is(&e, "max", NS_RSM)) {
            if (!rsm_read_number(&e, tmp, &r->max))
                why = "<max/> is not a number";
        } else if (elem_is(&e, "before", NS_RSM) || elem_is(&e, "after", NS_RSM) ||
                   elem_is(&e, "index", NS_RSM)) {
            why = read_place(r, &e, tmp);
        }
        if (why != NULL)
            return why;
    }
    return NULL;
}

bool rsm_parse(struct rsm *out, const struct elem *parent, struct arena *tmp, const char **why)
{
    struct elem set;
    *out = (struct rsm){ .place = RSM_FIRST, .max = UINT32_MAX };
    *why = elem_child(parent, "set", NS_RSM, &set) ? read_set(out, &set, tmp) : NULL;
    return *why == NULL;
}

static size_t rsm_least(size_t a, size_t b) { return a < b ? a : b; }

bool rsm_window(const struct rsm *r, size_t count, size_t at, size_t max, size_t *from, size_t *len)
{
    size_t begin = 0, end = count; /* what the place leaves */
    if ((r->place == RSM_AFTER || r->place == RSM_BEFORE) && at >= count)
        return false;
    if (r->place == RSM_AFTER)
        begin = at + 1;
    else if (r->place == RSM_BEFORE)
        end = at;
    else if (r->place == RSM_INDEX)
        begin = rsm_least(r->index, count); /* §2.6: beyond the end the page is empty */
    *len = rsm_least(end - begin, rsm_least(max, r->max));
    *from = r->place == RSM_BEFORE || r->place == RSM_LAST ? end - *len : begin;
    return true;
}

void rsm_write(struct xml_write *x, const struct rsm_page *page)
{
    xml_open(x, "set", NS_RSM);
    if (page->first.len > 0) {
        xml_open(x, "first", NULL);
        if (page->index >= 0)
            xml_attr_int(x, "index", page->index);
        xml_text(x, page->first);
        xml_close(x);
        xml_element(x, "last", page->last);
    }
    if (page->count >= 0)
        xml_element_int(x, "count", page->count);
    xml_close(x);
}
