#include "muc/room/config.h"
#include "base/arena.h"
#include "base/mem.h"
#include "muc/room/settings.h"
#include "xmpp/disco_info.h"
#include "xmpp/ns.h"

enum { ALL_ROLES = ROLE_BIT(ROLE_VISITOR) | ROLE_BIT(ROLE_PARTICIPANT) | ROLE_BIT(ROLE_MODERATOR) };

static uint32_t count_of(const struct setting *s)
{
    int64_t n = setting_int(s);
    return n < 0 ? 0 : n >= ROOM_NO_LIMIT ? ROOM_NO_LIMIT : (uint32_t)n;
}

static uint32_t smaller(uint32_t a, uint32_t b) { return a < b ? a : b; }

void room_config_default(struct room_config *c)
{
    *c = (struct room_config){
        .listed = true, /* ad hoc rooms are public unless made private */
        .persistent = setting_bool(&muc_new_persistent) && setting_bool(&muc_persistent),
        .members_only = setting_bool(&muc_new_members_only),
        .moderated = setting_bool(&muc_new_moderated),
        .member_invites = !setting_bool(&muc_new_moderators_invite),
        .self_add = setting_bool(&muc_new_self_add),
        .absent_visible = setting_bool(&muc_new_absent_visible),
        .groupchat1 = setting_bool(&muc_new_groupchat1),
        .strip_xhtml = setting_bool(&muc_new_strip_xhtml),
        .archive = setting_bool(&muc_archive),
        .archive_joins = setting_bool(&muc_archive_joins),
        .whois = setting_bool(&muc_new_anonymous) ? WHOIS_MODERATORS : WHOIS_ANYONE,
        .pm = (uint8_t)setting_int(&muc_new_private_messages), /* the same order */
        .subject_lowest = setting_int(&muc_new_subject) == 0 ? ROLE_PARTICIPANT : ROLE_MODERATOR,
        .presence_roles = ALL_ROLES,
        .list_roles = ROLE_BIT(ROLE_PARTICIPANT) | ROLE_BIT(ROLE_MODERATOR),
        .users_max = smaller(count_of(&muc_new_occupants), count_of(&muc_occupants_max)),
        .hidden_max = count_of(&muc_hidden_max),
        .history = smaller(count_of(&muc_new_history), count_of(&muc_history_max)),
        .history_max = count_of(&muc_history_max),
    };
}

void room_config_keep(struct room_config *out, const struct room_config *in)
{
    size_t len = 0;
    *out = *in;
    out->own = NULL;
    for (unsigned i = 0; i < ROOM_TEXTS; i++)
        len += in->text[i].len;
    if (len == 0) {
        memset(out->text, 0, sizeof out->text);
        return;
    }
    char *at = out->own = mem_alloc(len);
    for (unsigned i = 0; i < ROOM_TEXTS; i++)
        out->text[i] = slice_lay(&at, in->text[i]);
}

void room_config_fini(struct room_config *c)
{
    mem_free(&c->own);
    memset(c->text, 0, sizeof c->text);
}

/* Rights that it gives. */

bool room_may_pm(const struct room_config *c, enum room_role by)
{
    static const enum room_role lowest[] = {
        [PM_ANYONE] = ROLE_VISITOR,
        [PM_PARTICIPANTS] = ROLE_PARTICIPANT,
        [PM_MODERATORS] = ROLE_MODERATOR,
    };
    return c->pm < PM_NOBODY && by >= lowest[c->pm];
}

bool room_may_subject(const struct room_config *c, enum room_role by)
{
    return by >= ROLE_PARTICIPANT && by >= c->subject_lowest;
}

bool room_shows(const struct room_config *c, enum room_role of)
{
    return (c->presence_roles & ROLE_BIT(of)) != 0;
}

/* Without a secret, which damaged storage may lose, nothing is right. */
bool room_password_right(const struct room_config *c, slice given)
{
    return !c->password || (given.len > 0 && slice_eq(c->text[ROOM_SECRET], given));
}

uint32_t room_users_max(const struct room_config *c)
{
    return smaller(c->users_max, count_of(&muc_occupants_max));
}

uint32_t room_hidden_max(const struct room_config *c)
{
    return smaller(c->hidden_max, count_of(&muc_hidden_max));
}

uint32_t room_history_max(const struct room_config *c)
{
    return smaller(c->history_max, count_of(&muc_history_max));
}

uint32_t room_history(const struct room_config *c)
{
    return smaller(c->history, room_history_max(c));
}

bool room_logs(const struct room_config *c)
{
    return c->persistent && c->archive && setting_bool(&muc_archive);
}

unsigned room_flags(const struct room_config *c)
{
    return (c->moderated ? ROOM_MODERATED : 0u) | (c->members_only ? ROOM_MEMBERS_ONLY : 0u);
}

bool room_contact_next(slice *rest, slice *jid)
{
    slice tail;
    if (rest->len == 0 || !slice_cut(*rest, '\t', jid, &tail))
        return false;
    *rest = tail;
    return true;
}

/* Facts that are told about it. */

unsigned room_diff_codes(unsigned diff, const struct room_config *is, unsigned code[ROOM_CODES_MAX])
{
    unsigned n = 0, told = DIFF_ABSENT_VISIBLE | DIFF_LOGGING | DIFF_WHOIS;
    if (diff & DIFF_ABSENT_VISIBLE)
        code[n++] = is->absent_visible ? 102 : 103;
    if (diff & DIFF_LOGGING)
        code[n++] = room_logs(is) ? 170 : 171;
    if (diff & DIFF_WHOIS)
        code[n++] = is->whois == WHOIS_ANYONE ? 172 : 173;
    if (diff & DIFF_LOGGING)
        told |= DIFF_ARCHIVE;
    if (diff & ~told)
        code[n++] = 104;
    return n;
}

static void config_put(struct disco_info *d, const char *var, slice value)
{
    if (value.len > 0)
        disco_add_value(disco_add_field(d, slice_of(var)), value);
}

static void put_bool(struct disco_info *d, const char *var, bool value)
{
    config_put(d, var, value ? SLICE("1") : SLICE("0"));
}

static void put_count(struct disco_info *d, const char *var, uint32_t n, struct arena *tmp)
{
    config_put(d, var, slice_of(arena_printf(tmp, "%u", n)));
}

/* Owners are named where everybody may see addresses anyway (§15.5.4: normally owners). */
static void put_contacts(struct disco_info *d, const struct room_config *c,
                         const struct room_facts *facts)
{
    slice rest = c->text[ROOM_CONTACTS], jid;
    bool owners = rest.len == 0 && c->whois == WHOIS_ANYONE && facts->owner_count > 0;
    if (rest.len == 0 && !owners)
        return;
    struct disco_field *f = disco_add_field(d, SLICE("muc#roominfo_contactjid"));
    f->type = "jid-multi";
    while (room_contact_next(&rest, &jid))
        disco_add_value(f, jid);
    for (unsigned i = 0; owners && i < facts->owner_count; i++)
        disco_add_value(f, facts->owner[i]);
}

static void put_features(struct disco_info *d, const struct room_config *c)
{
    disco_add_feature(d, c->listed ? SLICE("muc_public") : SLICE("muc_hidden"));
    disco_add_feature(d, c->members_only ? SLICE("muc_membersonly") : SLICE("muc_open"));
    disco_add_feature(d, c->moderated ? SLICE("muc_moderated") : SLICE("muc_unmoderated"));
    disco_add_feature(d, c->whois == WHOIS_ANYONE ? SLICE("muc_nonanonymous")
                                                  : SLICE("muc_semianonymous"));
    disco_add_feature(d, c->password ? SLICE("muc_passwordprotected") : SLICE("muc_unsecured"));
    disco_add_feature(d, c->persistent ? SLICE("muc_persistent") : SLICE("muc_temporary"));
}

void room_config_disco(struct disco_info *d, const struct room_config *c,
                       const struct room_facts *facts, struct arena *tmp)
{
    static const char *const pm[] = { "anyone", "participants", "moderators", "none" };
    bool subject = c->subject_lowest < ROLE_MODERATOR;
    put_features(d, c);
    d->form_type = SLICE(NS_MUC_ROOMINFO);
    config_put(d, "muc#roomconfig_roomname", c->text[ROOM_NAME]);
    config_put(d, "muc#roominfo_description", c->text[ROOM_DESCRIPTION]);
    config_put(d, "muc#roominfo_lang", c->text[ROOM_LANGUAGE]);
    config_put(d, "muc#roomconfig_pubsub", c->text[ROOM_PUBSUB]);
    config_put(d, "muc#roominfo_subject", facts->subject);
    put_bool(d, "muc#roominfo_subjectmod", subject);
    put_bool(d, "muc#roominfo_changesubject", subject);
    if (!facts->closed)
        put_count(d, "muc#roominfo_occupants", facts->occupants, tmp);
    put_count(d, "muc#maxhistoryfetch", room_history_max(c), tmp);
    put_contacts(d, c, facts);
    put_bool(d, "muc#roomconfig_changesubject", subject);
    put_bool(d, "muc#roomconfig_allowinvites", c->member_invites || !c->members_only);
    config_put(d, "muc#roomconfig_allowpm", slice_of(pm[c->pm]));
    config_put(d, "muc#roomconfig_whois",
               c->whois == WHOIS_ANYONE ? SLICE("anyone") : SLICE("moderators"));
    put_bool(d, "muc#roomconfig_membersonly", c->members_only);
    put_bool(d, "muc#roomconfig_moderatedroom", c->moderated);
    put_bool(d, "muc#roomconfig_enablearchiving", c->archive);
    put_count(d, "muc#roomconfig_maxusers", room_users_max(c), tmp);
    put_bool(d, "x-muc#roomconfig_registration", c->self_add);
}
