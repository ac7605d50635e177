#include "pubsub/pubsub_access.h"

static const char *const affiliation_names[PS_AFFILIATIONS] = {
    [PS_NONE] = "none",           [PS_OWNER] = "owner",
    [PS_PUBLISHER] = "publisher", [PS_PUBLISH_ONLY] = "publish-only",
    [PS_MEMBER] = "member",       [PS_OUTCAST] = "outcast",
};
static const char *const state_names[PS_STATES] = {
    [PS_UNSUBSCRIBED] = "none",
    [PS_PENDING] = "pending",
    [PS_SUBSCRIBED] = "subscribed",
    [PS_OFFERED] = "pending",
};

static const struct ps_error fine = { SE_NONE, NULL, NULL, { "", 0 } };
static const struct ps_error forbidden = { SE_FORBIDDEN, NULL, NULL, { "", 0 } };

/* §6.1.3.2 to .4 and the same of §6.5.9: what each access model says to a stranger. */
static struct ps_error stranger(const struct ps_config *c, const struct ps_actor *who)
{
    switch ((enum ps_access_model)c->access) {
    case PS_PRESENCE:
        if (!who->presence)
            return (struct ps_error){ .error = SE_NOT_AUTHORIZED,
                                      .condition = "presence-subscription-required" };
        return fine;
    case PS_ROSTER:
        if (!who->in_group)
            return (struct ps_error){ .error = SE_NOT_AUTHORIZED,
                                      .condition = "not-in-roster-group" };
        return fine;
    case PS_WHITELIST:
        return (struct ps_error){ .error = SE_NOT_ALLOWED, .condition = "closed-node" };
    default:
        return fine;
    }
}

/* What the affiliation alone decides: 1 yes, -1 no, 0 the access model does. */
static int by_affiliation(const struct ps_actor *who)
{
    switch (who->affiliation) {
    case PS_OWNER:
    case PS_PUBLISHER:
    case PS_MEMBER:
        return 1;
    case PS_OUTCAST:
    case PS_PUBLISH_ONLY:
        return who->may_configure ? 1 : -1;
    default:
        return who->may_configure;
    }
}

struct ps_error ps_may_read(const struct ps_config *c, const struct ps_actor *who)
{
    int verdict = by_affiliation(who);
    if (verdict != 0)
        return verdict > 0 ? fine : forbidden;
    if (c->access == PS_AUTHORIZE && who->state != PS_SUBSCRIBED)
        return (struct ps_error){ .error = SE_NOT_AUTHORIZED, .condition = "not-subscribed" };
    return stranger(c, who);
}

struct ps_error ps_may_subscribe(const struct ps_config *c, const struct ps_actor *who)
{
    int verdict = by_affiliation(who);
    if (verdict < 0)
        return forbidden;
    if (!c->subscribe)
        return (struct ps_error){ .error = SE_FEATURE_NOT_IMPLEMENTED,
                                  .condition = "unsupported",
                                  .feature = "subscribe" };
    return verdict > 0 ? fine : stranger(c, who);
}

struct ps_error ps_may_publish(const struct ps_config *c, const struct ps_actor *who)
{
    switch (who->affiliation) {
    case PS_OWNER:
    case PS_PUBLISHER:
    case PS_PUBLISH_ONLY:
        return fine;
    case PS_OUTCAST:
        return who->may_configure ? fine : forbidden;
    default:
        break;
    }
    if (who->may_configure || c->publish == PS_ANYBODY)
        return fine;
    bool subscribed = who->state == PS_SUBSCRIBED && ps_may_read(c, who).error == SE_NONE;
    return c->publish == PS_SUBSCRIBERS && subscribed ? fine : forbidden;
}

struct ps_error ps_may_retract(const struct ps_config *c, const struct ps_actor *who, bool own)
{
    if (who->affiliation == PS_OWNER || who->may_configure)
        return fine;
    return own ? ps_may_publish(c, who) : forbidden;
}

struct ps_error ps_may_own(const struct ps_actor *who)
{
    return who->affiliation == PS_OWNER || who->may_configure ? fine : forbidden;
}

const char *ps_affiliation_name(enum ps_affiliation a) { return affiliation_names[a]; }
const char *ps_state_name(enum ps_state s) { return state_names[s]; }

bool ps_affiliation_find(slice name, enum ps_affiliation *out)
{
    for (unsigned i = 0; i < PS_AFFILIATIONS; i++) {
        if (slice_is(name, affiliation_names[i])) {
            *out = (enum ps_affiliation)i;
            return true;
        }
    }
    return false;
}

bool ps_state_find(slice name, enum ps_state *out)
{
    for (unsigned i = 0; i < PS_STATES; i++) {
        if (slice_is(name, state_names[i])) {
            *out = (enum ps_state)i;
            return true;
        }
    }
    return false;
}
