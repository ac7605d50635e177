#include "muc/people/voice.h"
#include "base/hash.h"
#include "base/mem.h"
#include "muc/room/config.h"
#include "muc/room/room.h"
#include "xmpp/muc.h"

enum { VOICES_MAX = 64 };

struct room_voices {
    uint32_t next;
    struct voice {
        uint64_t who; /* 0: free */
        uint8_t role, affiliation;
    } row[VOICES_MAX];
};

static struct voice *voice_of(const struct room *r, const struct occupant *o)
{
    uint64_t who = hash_keyed(o->id);
    for (uint32_t i = 0; r->voices != NULL && i < VOICES_MAX; i++)
        if (r->voices->row[i].who == who)
            return &r->voices->row[i];
    return NULL;
}

/* Nothing is kept of a moderator, nor of an occupant whose role is that of the affiliation. */
static bool is_special(const struct room *r, const struct occupant *o)
{
    enum room_role due = affiliation_role((enum affiliation)o->affiliation, room_flags(&r->config));
    return r->config.moderated && o->role != due && o->role <= ROLE_PARTICIPANT;
}

void room_voice_keep(struct room *r, const struct occupant *o)
{
    struct voice *v = voice_of(r, o);
    if (!is_special(r, o)) {
        if (v != NULL)
            *v = (struct voice){ 0 };
        return;
    }
    if (r->voices == NULL)
        r->voices = mem_new(struct room_voices);
    if (v == NULL)
        v = &r->voices->row[r->voices->next++ % VOICES_MAX];
    *v = (struct voice){ hash_keyed(o->id), o->role, o->affiliation };
}

void room_voice_take(struct room *r, struct occupant *o)
{
    struct voice *v = voice_of(r, o);
    if (v == NULL)
        return;
    if (r->config.moderated && v->affiliation == o->affiliation)
        o->role = v->role;
    *v = (struct voice){ 0 };
}
