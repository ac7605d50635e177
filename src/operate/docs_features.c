/* docs_features: what each feature takes part in, read off its row (core/feature.h), for the table
 * of pairs in test/together/PAIRS.md: features that take part in the same may meet there. */
#include "base/buf.h"
#include "core/feature.h"
#include "home/host.h"
#include "operate/asks_first.h"
#include "operate/docs.h"

static bool has_rule(const struct feature *f, unsigned to)
{
    for (const struct iq_rule *r = f->iq; r != NULL && r->ns != NULL; r++)
        if ((r->to & to) != 0)
            return true;
    for (const struct host *h = f->hosts; h != NULL && h->label != NULL; h++)
        for (const struct iq_rule *r = h->iq; r != NULL && r->ns != NULL; r++)
            if ((r->to & to) != 0)
                return true;
    return false;
}

/* CHECK and BLOCK see messages and presence alike. */
static bool sees_both(const struct feature *f)
{
    return f->stage.check != NULL || f->stage.block != NULL;
}

static bool in_messages(const struct feature *f)
{
    return sees_both(f) || f->stage.takes != NULL || f->stage.archive != NULL ||
           f->one.archive != NULL || f->stage.carbon != NULL || f->one.push != NULL ||
           f->stage.hold != NULL || f->session.to_server != NULL || f->fans != NULL;
}

static bool in_presence(const struct feature *f)
{
    return sees_both(f) || f->stage.view != NULL || f->stage.show != NULL ||
           f->stage.permit != NULL || f->session.available != NULL ||
           f->session.unavailable != NULL || f->session.presence != NULL || f->one.last != NULL ||
           f->one.watch != NULL || f->one.personal != NULL;
}

static bool in_sessions(const struct feature *f)
{
    return f->session.hibernates != NULL || f->session.resumed != NULL || f->one.push != NULL ||
           f->session.ended != NULL || f->session.save != NULL || f->session.restore != NULL ||
           f->bind2 != NULL || f->nonzas != NULL;
}

static bool in_accounts(const struct feature *f)
{
    return f->account.created != NULL || f->account.remove != NULL || f->account.deleted != NULL ||
           f->account.disown != NULL || f->one.profiles != NULL;
}

static bool in_disco(const struct feature *f)
{
    return f->disco_get != NULL || f->disco_any != NULL;
}

static bool in_rooms(const struct feature *f)
{
    return has_rule(f, IQ_TO_ROOM) || f->one.rooms != NULL;
}

static bool in_requests(const struct feature *f)
{
    return has_rule(f, IQ_TO_SERVER | IQ_TO_SELF | IQ_TO_ACCOUNT);
}

static bool in_services(const struct feature *f)
{
    return has_rule(f, IQ_TO_HOST) || f->hosts != NULL;
}

static const struct {
    unsigned part;
    const char *name;
    bool (*has)(const struct feature *f);
} parts[] = {
    { PART_MESSAGE, "message", in_messages }, { PART_PRESENCE, "presence", in_presence },
    { PART_SESSION, "session", in_sessions }, { PART_ACCOUNT, "account", in_accounts },
    { PART_DISCO, "disco", in_disco },        { PART_ROOM, "room", in_rooms },
    { PART_REQUEST, "request", in_requests }, { PART_SERVICE, "service", in_services },
};

/* A feature that only the tests have is in no table. */
static bool is_of_tests(const struct feature *f)
{
#ifdef MUSTER_DEBUG
    return f == &asks_first_feature;
#else
    (void)f;
    return false;
#endif
}

void docs_features(struct buf *out)
{
    FEATURES_EACH (f, name) {
        if (is_of_tests(f))
            continue;
        buf_printf(out, "%s:", f->name);
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
            if ((f->parts & parts[i].part) != 0 || parts[i].has(f))
                buf_printf(out, " %s", parts[i].name);
        buf_lit(out, "\n");
    }
}
