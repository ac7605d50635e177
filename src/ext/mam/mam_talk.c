#include "ext/mam/mam_talk.h"
#include "codec/xml_elem.h"
#include "home/here.h"
#include "home/host.h"
#include "xmpp/jid.h"
#include <assert.h>

static_assert(ROOM_ID_MIN == 1099511627776, "MAM_TALK has it");

bool mam_has_id(const struct stanza *st, slice id, struct arena *tmp)
{
    struct elem origin;
    return slice_eq(stanza_id(st), id) || (stanza_child(st, KNOWN_ORIGIN_ID, &origin) &&
                                           slice_eq(elem_attr(&origin, "id", tmp), id));
}

/* Raw: a room writes the same id in the same way. */
static slice talk_occupant_id(const struct stanza *st)
{
    struct elem e;
    return stanza_child(st, KNOWN_OCCUPANT_ID, &e) ? elem_attr_raw(&e, "id") : SLICE("");
}

/* With an occupant of a room: by the mark of XEP-0045 §7.5, which rooms set and clients may leave
 * out. */
static bool talk_in_room(const struct worker *w, const struct stanza *st, bool sent)
{
    slice domain = jid_split(stanza_to(st)).domain;
    return stanza_has(st, KNOWN(MUC_USER)) ||
           (sent && host_find(worker_node(w), domain, &(slice){ 0 }) != NULL);
}

bool mam_same_talk(const struct worker *w, const struct stanza *st, const struct stanza *earlier,
                   bool sent)
{
    if (earlier->kind != STANZA_MESSAGE ||
        !slice_eq(stanza_from_bare(earlier), stanza_from_bare(st)) ||
        !slice_eq(stanza_to_bare(earlier), stanza_to_bare(st)))
        return false;
    if (!talk_in_room(w, st, sent) && !talk_in_room(w, earlier, sent))
        return true;
    return sent ? slice_eq(stanza_to(earlier), stanza_to(st))
                : slice_eq(stanza_from(earlier), stanza_from(st)) &&
                      slice_eq(talk_occupant_id(earlier), talk_occupant_id(st));
}
