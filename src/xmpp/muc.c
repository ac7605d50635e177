#include "xmpp/muc.h"
#include "base/ensure.h"

static const slice affiliation_names[AFFILIATIONS] = {
    [AFF_OUTCAST] = SLICE_INIT("outcast"), [AFF_NONE] = SLICE_INIT("none"),
    [AFF_MEMBER] = SLICE_INIT("member"),   [AFF_ADMIN] = SLICE_INIT("admin"),
    [AFF_OWNER] = SLICE_INIT("owner"),
};

static const slice role_names[ROOM_ROLES] = {
    [ROLE_NONE] = SLICE_INIT("none"),
    [ROLE_VISITOR] = SLICE_INIT("visitor"),
    [ROLE_PARTICIPANT] = SLICE_INIT("participant"),
    [ROLE_MODERATOR] = SLICE_INIT("moderator"),
};

/* §5.1.1 is a ladder: what a role may, the higher ones may too. */
static const enum room_role lowest_role[ROLE_ACTS] = {
    [ACT_PRESENT] = ROLE_VISITOR,
    [ACT_SPEAK] = ROLE_PARTICIPANT,
    [ACT_KICK] = ROLE_MODERATOR,
    [ACT_GRANT_VOICE] = ROLE_MODERATOR,
};

/* Sets of affiliations. */
#define ONLY(a)       (1U << (a))
#define FROM(a)       (EVERYBODY & ~(ONLY(a) - 1U))
#define UP_TO(a)      (2U * ONLY(a) - 1U)
#define EVERYBODY     UP_TO(AFF_OWNER)
#define SET_HAS(s, a) (((s)&ONLY(a)) != 0)

/* §5.2.1 */
static const unsigned may[AFFILIATION_ACTS] = {
    [ACT_ENTER] = FROM(AFF_NONE),
    [ACT_ENTER_MEMBERS] = FROM(AFF_MEMBER),
    [ACT_REGISTER] = ONLY(AFF_NONE),
    [ACT_MEMBER_LIST] = FROM(AFF_MEMBER),
    [ACT_BAN] = FROM(AFF_ADMIN),
    [ACT_EDIT_MEMBERS] = FROM(AFF_ADMIN),
    [ACT_EDIT_MODERATORS] = FROM(AFF_ADMIN),
    [ACT_EDIT_ADMINS] = FROM(AFF_OWNER),
    [ACT_EDIT_OWNERS] = FROM(AFF_OWNER),
    [ACT_CONFIGURE] = FROM(AFF_OWNER),
    [ACT_DESTROY] = FROM(AFF_OWNER),
};

/* §5.1.2 */
#define ABOVE_NONE                                                                                 \
    [AFF_MEMBER] = ROLE_PARTICIPANT, [AFF_ADMIN] = ROLE_MODERATOR, [AFF_OWNER] = ROLE_MODERATOR
static const enum room_role entering[ROOM_MODERATED + ROOM_MEMBERS_ONLY + 1][AFFILIATIONS] = {
    [0] = { [AFF_NONE] = ROLE_PARTICIPANT, ABOVE_NONE },
    [ROOM_MODERATED] = { [AFF_NONE] = ROLE_VISITOR, ABOVE_NONE },
    [ROOM_MEMBERS_ONLY] = { ABOVE_NONE },
    [ROOM_MODERATED | ROOM_MEMBERS_ONLY] = { ABOVE_NONE },
};

/* --- changes of roles --- */

/* Against whom, by the affiliation of the one who asks. */
static const unsigned anybody[AFFILIATIONS] = { EVERYBODY, EVERYBODY, EVERYBODY, EVERYBODY,
                                                EVERYBODY };
/* §8.2: nobody above oneself; §8 leaves open who else is out of reach: an equal admin or owner. */
static const unsigned kickable[AFFILIATIONS] = {
    [AFF_NONE] = UP_TO(AFF_NONE),
    [AFF_MEMBER] = UP_TO(AFF_MEMBER),
    [AFF_ADMIN] = UP_TO(AFF_MEMBER),
    [AFF_OWNER] = UP_TO(AFF_ADMIN),
};
/* §5.1.3: a moderator does not kick moderators; an admin or owner can, who could revoke the role.
 */
static const unsigned kickable_moderators[AFFILIATIONS] = {
    [AFF_ADMIN] = UP_TO(AFF_MEMBER),
    [AFF_OWNER] = UP_TO(AFF_ADMIN),
};
/* §8.4: only those below oneself, and never admins and owners */
static const unsigned silenceable[AFFILIATIONS] = {
    [AFF_NONE] = UP_TO(AFF_OUTCAST),
    [AFF_MEMBER] = UP_TO(AFF_NONE),
    [AFF_ADMIN] = UP_TO(AFF_MEMBER),
    [AFF_OWNER] = UP_TO(AFF_MEMBER),
};
/* §5.2.1, §9.7: never from an admin or owner, whoever asks */
static const unsigned demotable[AFFILIATIONS] = { UP_TO(AFF_MEMBER), UP_TO(AFF_MEMBER),
                                                  UP_TO(AFF_MEMBER), UP_TO(AFF_MEMBER),
                                                  UP_TO(AFF_MEMBER) };

/* Role and affiliation of the user who asks, as bits. */
enum { MODERATOR = 1, ADMIN = 2 };

/* The members in order: who may ask at all, for which targets, and what that requires. */
struct role_rule {
    unsigned asks; /* any of these; 0: nobody (none gets a role but by entering) */
    const unsigned *against;
    unsigned takes; /* all of these */
};
#define ENTERING                                                                                   \
    {                                                                                              \
        0, anybody, 0                                                                              \
    }
#define VOICE                                                                                      \
    {                                                                                              \
        MODERATOR, anybody, 0                                                                      \
    }
#define PROMOTION                                                                                  \
    {                                                                                              \
        ADMIN, anybody, 0                                                                          \
    }
#define DEMOTION                                                                                   \
    {                                                                                              \
        MODERATOR | ADMIN, demotable, ADMIN                                                        \
    }

static const struct role_rule role_rules[ROOM_ROLES][ROOM_ROLES] = { /* from, to */
    [ROLE_NONE] = {
        [ROLE_NONE] = ENTERING,
        [ROLE_VISITOR] = ENTERING,
        [ROLE_PARTICIPANT] = ENTERING,
        [ROLE_MODERATOR] = ENTERING,
    },
    [ROLE_VISITOR] = {
        [ROLE_NONE] = { MODERATOR, kickable, 0 },
        [ROLE_VISITOR] = VOICE,
        [ROLE_PARTICIPANT] = VOICE,
        [ROLE_MODERATOR] = PROMOTION,
    },
    [ROLE_PARTICIPANT] = {
        [ROLE_NONE] = { MODERATOR, kickable, 0 },
        [ROLE_VISITOR] = { MODERATOR, silenceable, 0 },
        [ROLE_PARTICIPANT] = VOICE,
        [ROLE_MODERATOR] = PROMOTION,
    },
    [ROLE_MODERATOR] = {
        [ROLE_NONE] = { MODERATOR, kickable_moderators, 0 },
        [ROLE_VISITOR] = DEMOTION,
        [ROLE_PARTICIPANT] = DEMOTION,
        [ROLE_MODERATOR] = PROMOTION,
    },
};

/* --- changes of affiliations --- */

/* The lowest affiliation that may do it, and the error for an admin below that; all others get
 * forbidden. */
struct affiliation_rule {
    enum affiliation least;
    enum stanza_error to_admin;
};
#define BY_ADMIN                                                                                   \
    {                                                                                              \
        AFF_ADMIN, SE_NONE                                                                         \
    }
#define BY_OWNER                                                                                   \
    {                                                                                              \
        AFF_OWNER, SE_FORBIDDEN                                                                    \
    } /* §10.5, §10.8: their lists are owners' */
#define OWNER_BANS                                                                                 \
    {                                                                                              \
        AFF_OWNER, SE_NOT_ALLOWED                                                                  \
    } /* §9.1 */

static const struct affiliation_rule affiliation_rules[AFFILIATIONS][AFFILIATIONS] = {
    /* from, to */
    [AFF_OUTCAST] = { BY_ADMIN, BY_ADMIN, BY_ADMIN, BY_OWNER, BY_OWNER },
    [AFF_NONE] = { BY_ADMIN, BY_ADMIN, BY_ADMIN, BY_OWNER, BY_OWNER },
    [AFF_MEMBER] = { BY_ADMIN, BY_ADMIN, BY_ADMIN, BY_OWNER, BY_OWNER },
    [AFF_ADMIN] = { OWNER_BANS, BY_OWNER, BY_OWNER, BY_OWNER, BY_OWNER },
    [AFF_OWNER] = { OWNER_BANS, BY_OWNER, BY_OWNER, BY_OWNER, BY_OWNER },
};

bool role_may(enum room_role r, enum role_act act)
{
    ensure((unsigned)r < ROOM_ROLES && (unsigned)act < ROLE_ACTS);
    return r >= lowest_role[act];
}

bool affiliation_may(enum affiliation a, enum affiliation_act act)
{
    ensure((unsigned)a < AFFILIATIONS && (unsigned)act < AFFILIATION_ACTS);
    return SET_HAS(may[act], a);
}

enum room_role affiliation_role(enum affiliation a, unsigned room)
{
    ensure((unsigned)a < AFFILIATIONS && room < sizeof entering / sizeof entering[0]);
    return entering[room][a];
}

static void ensure_standing(struct muc_standing s)
{
    ensure((unsigned)s.affiliation < AFFILIATIONS && (unsigned)s.role < ROOM_ROLES);
}

enum stanza_error muc_role_refusal(struct muc_standing by, struct muc_standing of,
                                   enum room_role to)
{
    ensure_standing(by);
    ensure_standing(of);
    ensure((unsigned)to < ROOM_ROLES);
    const struct role_rule *rule = &role_rules[of.role][to];
    bool moderator = role_may(by.role, to == ROLE_NONE ? ACT_KICK : ACT_GRANT_VOICE);
    bool admin = affiliation_may(by.affiliation, ACT_EDIT_MODERATORS);
    unsigned is = (moderator ? MODERATOR : 0U) | (admin ? ADMIN : 0U);
    if ((is & rule->asks) == 0)
        return SE_FORBIDDEN;
    if (!SET_HAS(rule->against[by.affiliation], of.affiliation))
        return SE_NOT_ALLOWED;
    return (is & rule->takes) == rule->takes ? SE_NONE : SE_FORBIDDEN;
}

enum stanza_error muc_affiliation_refusal(struct muc_standing by, struct muc_standing of,
                                          enum affiliation to)
{
    ensure_standing(by);
    ensure_standing(of);
    ensure((unsigned)to < AFFILIATIONS);
    const struct affiliation_rule *rule = &affiliation_rules[of.affiliation][to];
    if (by.affiliation >= rule->least)
        return SE_NONE;
    return by.affiliation == AFF_ADMIN ? rule->to_admin : SE_FORBIDDEN;
}

slice affiliation_name(enum affiliation a)
{
    ensure((unsigned)a < AFFILIATIONS);
    return affiliation_names[a];
}

slice role_name(enum room_role r)
{
    ensure((unsigned)r < ROOM_ROLES);
    return role_names[r];
}

static bool muc_find(slice name, const slice *names, unsigned count, unsigned *out)
{
    for (*out = 0; *out < count; (*out)++)
        if (slice_eq(name, names[*out]))
            return true;
    return false;
}

bool affiliation_of(slice name, enum affiliation *out)
{
    unsigned at;
    bool found = muc_find(name, affiliation_names, AFFILIATIONS, &at);
    if (found)
        *out = (enum affiliation)at;
    return found;
}

bool role_of(slice name, enum room_role *out)
{
    unsigned at;
    bool found = muc_find(name, role_names, ROOM_ROLES, &at);
    if (found)
        *out = (enum room_role)at;
    return found;
}
