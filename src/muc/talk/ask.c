#include "muc/talk/ask.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/talk/answer.h"
#include "xmpp/form.h"

static const struct form_answer *answer_of(slice form_type)
{
    PARTS_EACH (p, answers)
        for (const struct form_answer *a = p->answers; a->form_type != NULL; a++)
            if (slice_is(form_type, a->form_type))
                return a;
    return NULL;
}

enum routed room_asked(struct room *r, struct seat *s, struct stanza *st, struct origin origin)
{
    enum routed routed;
    PARTS_EACH (p, asked)
        if (p->asked(r, s, st, origin, &routed))
            return routed;
    struct elem x;
    struct form f;
    if (stanza_child(st, KNOWN_DATA_FORM, &x) && form_parse(&f, &x, room_scratch(r))) {
        const struct form_answer *answer = answer_of(f.form_type);
        if (answer != NULL)
            return answer->run(r, s, st, &f, origin);
    }
    if (stanza_has(st, KNOWN(BODY)))
        return room_refuse(r, st, SE_BAD_REQUEST,
                           SLICE("messages to a room are of type groupchat"));
    return room_handled(st);
}
