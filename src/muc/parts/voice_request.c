/* voice_request: visitors ask the moderators of a moderated room for voice (XEP-0045 §7.13, §8.6).
 */
#include "base/buf.h"
#include "codec/xml_write.h"
#include "muc/parts.h"
#include "muc/people/find.h"
#include "muc/people/pace.h"
#include "muc/people/role.h"
#include "muc/people/show.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/talk/answer.h"
#include "xmpp/form.h"
#include "xmpp/muc.h"
#include "xmpp/ns.h"

/* §8.6: a form for each moderator. */
static void ask_moderators(struct room *r, const struct occupant *o)
{
    static const struct form_option roles[] = { { "participant", "Participant" }, { 0 } };
    static const struct form_row role = {
        "muc#role", FORM_LIST_SINGLE, "Requested role", NULL, roles, NULL, false
    };
    static const struct form_row jid = { "muc#jid", FORM_JID_SINGLE, "User ID", NULL, NULL, NULL,
                                         false };
    static const struct form_row nick = {
        "muc#roomnick", FORM_TEXT_SINGLE, "Room nickname", NULL, NULL, NULL, false
    };
    static const struct form_row allow = {
        "muc#request_allow", FORM_BOOLEAN, "Grant voice to this person?", NULL, NULL, NULL, false
    };
    struct buf b;
    struct xml_write x;
    xml_begin(&x, &b, XML_PART_MAX);
    form_open_titled(&x, FORM_FORM, NS_MUC_REQUEST, "Voice request",
                     "To approve this request for voice, grant it and submit the form.");
    form_ask_value(&x, &role, SLICE("participant"));
    form_ask_value(&x, &jid, occupant_seat(o)->jid);
    form_ask_value(&x, &nick, o->nick);
    form_ask_value(&x, &allow, SLICE("false"));
    form_close(&x);
    struct stanza *st = stanza_make(STANZA_MESSAGE, TYPE_NORMAL, r->jid, (slice){ "", 0 },
                                    (slice){ 0 }, buf_fit(&b));
    room_send_all(r, st, TO_MODERATORS, NULL);
    stanza_unref(&st);
    buf_fini(&b);
}

static enum routed voice_asked(struct room *r, struct seat *s, struct stanza *st, struct form *f,
                               struct origin origin)
{
    (void)origin;
    struct arena *tmp = room_scratch(r);
    bool allow = false;
    slice nick = { 0 };

    if (s == NULL)
        return room_refuse(r, st, SE_NOT_ACCEPTABLE, SLICE("you are not in this room"));
    bool answers = form_bool(f, "muc#request_allow", &allow);
    (void)form_text(f, "muc#roomnick", &nick);
    if (f->error != SE_NONE)
        return room_refuse(r, st, f->error, f->text);
    if (!answers) {
        if (s->occupant->role == ROLE_VISITOR && !s->occupant->hidden &&
            !room_too_fast(r, s->occupant))
            ask_moderators(r, s->occupant);
        return room_handled(st);
    }
    if (!role_may((enum room_role)s->occupant->role, ACT_GRANT_VOICE))
        return room_refuse(r, st, SE_FORBIDDEN, SLICE("only moderators grant voice"));
    struct occupant *o = room_occupant(r, nick, tmp);
    if (o == NULL)
        return room_refuse(r, st, SE_ITEM_NOT_FOUND, SLICE("nobody has this nickname"));
    if (allow && o->role == ROLE_VISITOR) {
        slice actor = slice_dup(tmp, occupant_shown_nick(s->occupant));
        room_set_role(r, o, ROLE_PARTICIPANT, &(struct show){ .actor_nick = actor });
    }
    return room_handled(st);
}

static const struct form_answer answers[] = { { NS_MUC_REQUEST, voice_asked }, { 0 } };

const struct room_part voice_request_part = {
    .name = "voice_request",
    .disco = (const char *const[]){ NS_MUC_REQUEST, NULL },
    .answers = answers,
};
