#include "muc/room/config_form.h"
#include "base/arena.h"
#include "base/buf.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "muc/room/config.h"
#include "muc/room/settings.h"
#include "xmpp/form.h"
#include "xmpp/jid.h"
#include "xmpp/muc.h"
#include "xmpp/ns.h"
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

static const char *const whois_names[] = { "moderators", "anyone", NULL };
static const char *const pm_names[] = { "anyone", "participants", "moderators", "none", NULL };
static const char *const role_names[] = { "none", "visitor", "participant", "moderator", NULL };

static const struct form_option whois_options[] = { { "moderators", "Moderators" },
                                                    { "anyone", "Everybody in the room" },
                                                    { 0 } };
static const struct form_option pm_options[] = { { "anyone", "Everybody" },
                                                 { "participants", "Occupants with voice" },
                                                 { "moderators", "Moderators" },
                                                 { "none", "Nobody" },
                                                 { 0 } };
static const struct form_option role_options[] = { { "moderator", "Moderators" },
                                                   { "participant", "Participants" },
                                                   { "visitor", "Visitors" },
                                                   { 0 } };

enum kind {
    K_BOOL,
    K_CHOICE,
    K_SUBJECT, /* a role; in forms: whether participants may */
    K_ROLES,   /* bits */
    K_COUNT,
    K_USERS, /* a count from 1, or none */
    K_LINE,
    K_LINES,
    K_LANGUAGE,
    K_URI,
    K_JIDS
};

struct field {
    const char *key; /* in stored text; NULL: another field has it */
    enum kind kind;
    size_t at;                   /* in struct room_config; of texts: the index */
    const char *const *names;    /* of choices */
    const struct setting *limit; /* of counts: the largest */
    const struct setting *owner; /* whether owners may change it; NULL: always */
    bool admins;                 /* only administrators of group chat may */
    unsigned diff;
    struct form_row row;
};

#define AT(member) offsetof(struct room_config, member)
#define BOOL(member, var_, may, diff_, label_)                                                     \
    {                                                                                              \
        .key = #member, .kind = K_BOOL, .at = AT(member), .owner = may, .diff = diff_, .row = {    \
            .var = var_,                                                                           \
            .type = FORM_BOOLEAN,                                                                  \
            .label = label_                                                                        \
        }                                                                                          \
    }
#define CHOICE(member, var_, of, may, diff_, label_)                                               \
    {                                                                                              \
        .key = #member, .kind = K_CHOICE, .at = AT(member), .names = of##_names, .owner = may,     \
        .diff = diff_, .row = {                                                                    \
            .var = var_,                                                                           \
            .type = FORM_LIST_SINGLE,                                                              \
            .label = label_,                                                                       \
            .options = of##_options                                                                \
        }                                                                                          \
    }
#define ROLES(member, var_, diff_, label_)                                                         \
    {                                                                                              \
        .key = #member, .kind = K_ROLES, .at = AT(member), .diff = diff_, .row = {                 \
            .var = var_,                                                                           \
            .type = FORM_LIST_MULTI,                                                               \
            .label = label_,                                                                       \
            .options = role_options                                                                \
        }                                                                                          \
    }
#define COUNT(member, kind_, type_, var_, max, may, label_)                                        \
    {                                                                                              \
        .key = #member, .kind = kind_, .at = AT(member), .limit = max, .owner = may,               \
        .diff = DIFF_OTHER, .row = {                                                               \
            .var = var_,                                                                           \
            .type = type_,                                                                         \
            .label = label_                                                                        \
        }                                                                                          \
    }
#define TEXT(key_, kind_, index, type_, var_, label_)                                              \
    {                                                                                              \
        .key = key_, .kind = kind_, .at = index, .diff = DIFF_OTHER, .row = {                      \
            .var = var_,                                                                           \
            .type = type_,                                                                         \
            .label = label_                                                                        \
        }                                                                                          \
    }

static const struct field fields[] = {
    TEXT("name", K_LINE, ROOM_NAME, FORM_TEXT_SINGLE, "muc#roomconfig_roomname",
         "Name of the room"),
    TEXT("description", K_LINES, ROOM_DESCRIPTION, FORM_TEXT_SINGLE, "muc#roomconfig_roomdesc",
         "Description of the room"),
    TEXT("language", K_LANGUAGE, ROOM_LANGUAGE, FORM_TEXT_SINGLE, "muc#roomconfig_lang",
         "Language of the room"),
    BOOL(persistent, "muc#roomconfig_persistentroom", &muc_persistent, DIFF_PERSISTENT,
         "The room stays when everybody has left"),
    BOOL(listed, "muc#roomconfig_publicroom", NULL, DIFF_LISTED, "Everybody can find the room"),
    BOOL(members_only, "muc#roomconfig_membersonly", &muc_owner_members_only, DIFF_MEMBERS_ONLY,
         "Only members may enter"),
    BOOL(member_invites, "muc#roomconfig_allowinvites", &muc_owner_moderators_invite, DIFF_OTHER,
         "Members may invite others, not only moderators"),
    BOOL(self_add, "x-muc#roomconfig_registration", &muc_owner_self_add, DIFF_OTHER,
         "Users may add themselves as members"),
    BOOL(password, "muc#roomconfig_passwordprotectedroom", NULL, DIFF_OTHER,
         "A password is needed to enter"),
    TEXT("secret", K_LINE, ROOM_SECRET, FORM_TEXT_PRIVATE, "muc#roomconfig_roomsecret",
         "The password"),
    BOOL(moderated, "muc#roomconfig_moderatedroom", &muc_owner_moderated, DIFF_MODERATED,
         "Only occupants with voice may speak"),
    CHOICE(whois, "muc#roomconfig_whois", whois, &muc_owner_anonymous, DIFF_WHOIS,
           "Who sees the addresses of occupants"),
    COUNT(users_max, K_USERS, FORM_LIST_SINGLE, "muc#roomconfig_maxusers", &muc_occupants_max,
          &muc_owner_occupants, "Maximum number of occupants"),
    CHOICE(pm, "muc#roomconfig_allowpm", pm, &muc_owner_private_messages, DIFF_OTHER,
           "Who may send private messages"),
    { .key = "subject_lowest",
      .kind = K_SUBJECT,
      .at = AT(subject_lowest),
      .names = role_names,
      .owner = &muc_owner_subject,
      .diff = DIFF_OTHER,
      .row = { .var = "muc#roomconfig_changesubject",
               .type = FORM_BOOLEAN,
               .label = "Participants may change the subject, not only moderators" } },
    ROLES(presence_roles, "muc#roomconfig_presencebroadcast", DIFF_PRESENCE_ROLES,
          "Roles whose presence is shown"),
    ROLES(list_roles, "muc#roomconfig_getmemberlist", DIFF_OTHER,
          "Who may get the list of members"),
    BOOL(absent_visible, "muster#roomconfig_showabsent", &muc_owner_absent_visible,
         DIFF_ABSENT_VISIBLE,
         "Members and administrators are visible while they are not in the room"),
    COUNT(history, K_COUNT, FORM_TEXT_SINGLE, "muc#roomconfig_defaulthistorymessages",
          &muc_history_max, &muc_owner_history, "Number of messages shown to users who enter"),
    COUNT(history_max, K_COUNT, FORM_TEXT_SINGLE, "muc#maxhistoryfetch", &muc_history_max,
          &muc_owner_history, "Number of messages that users can request at once"),
    BOOL(archive, "muc#roomconfig_enablearchiving", &muc_owner_archive, DIFF_ARCHIVE,
         "Messages are archived while the room is persistent"),
    /* The name of the standard (§15.5.3) for what clients know as archiving: not stored twice. It
     * says what the room does, not what it will do once it is persistent (170: §10.2.1). */
    { .kind = K_BOOL,
      .at = AT(archive),
      .owner = &muc_owner_archive,
      .diff = DIFF_ARCHIVE,
      .row = { .var = "muc#roomconfig_enablelogging",
               .type = FORM_BOOLEAN,
               .label =
                   "Messages are logged while the room is persistent (the same as archived)" } },
    BOOL(archive_joins, "muster#roomconfig_archivejoins", &muc_owner_archive, DIFF_OTHER,
         "Joins and leaves are archived while the room is persistent"),
    BOOL(strip_xhtml, "muster#roomconfig_stripxhtml", &muc_owner_strip_xhtml, DIFF_OTHER,
         "XHTML formatting is removed"),
    BOOL(groupchat1, "muster#roomconfig_groupchat1", &muc_owner_groupchat1, DIFF_OTHER,
         "Clients of group chat 1.0 may enter"),
    { .key = "hidden_max",
      .kind = K_COUNT,
      .at = AT(hidden_max),
      .limit = &muc_hidden_max,
      .admins = true,
      .diff = DIFF_OTHER,
      .row = { .var = "muster#roomconfig_maxhidden",
               .type = FORM_TEXT_SINGLE,
               .label = "Maximum number of hidden occupants" } },
    TEXT("contacts", K_JIDS, ROOM_CONTACTS, FORM_JID_MULTI, "muster#roomconfig_contactjid",
         "Addresses for questions about the room"),
    TEXT("pubsub", K_URI, ROOM_PUBSUB, FORM_TEXT_SINGLE, "muc#roomconfig_pubsub",
         "XMPP URI of the room's publish-subscribe node"),
};
enum { FIELDS = sizeof fields / sizeof fields[0] };
enum { CONTACTS_BYTES_MAX = ROOM_CONTACTS_MAX * (JID_MAX + 1), NAMES_BYTES_MAX = 256 };

static const struct form_row owners_row = { .var = "muc#roomconfig_roomowners",
                                            .type = FORM_JID_MULTI,
                                            .label = "All owners of the room" };
static const struct form_row admins_row = { .var = "muc#roomconfig_roomadmins",
                                            .type = FORM_JID_MULTI,
                                            .label = "All administrators of the room" };

static bool is_logging(const struct field *fd) { return fd->key == NULL; }

static bool *config_form_bool_at(const struct room_config *c, const struct field *fd)
{
    return (bool *)((uintptr_t)c + fd->at);
}
static uint8_t *byte_at(const struct room_config *c, const struct field *fd)
{
    return (uint8_t *)((uintptr_t)c + fd->at);
}
static uint32_t *config_form_count_at(const struct room_config *c, const struct field *fd)
{
    return (uint32_t *)((uintptr_t)c + fd->at);
}

static bool config_form_may_change(const struct field *fd, enum room_editor by)
{
    if (by == EDITOR_ADMIN)
        return true;
    return !fd->admins && (fd->owner == NULL || setting_bool(fd->owner));
}

static bool config_form_same(const struct room_config *a, const struct room_config *b,
                             const struct field *fd)
{
    switch (fd->kind) {
    case K_BOOL:
        return *config_form_bool_at(a, fd) == *config_form_bool_at(b, fd);
    case K_CHOICE:
    case K_SUBJECT:
    case K_ROLES:
        return *byte_at(a, fd) == *byte_at(b, fd);
    case K_COUNT:
    case K_USERS:
        return *config_form_count_at(a, fd) == *config_form_count_at(b, fd);
    default:
        return slice_eq(a->text[fd->at], b->text[fd->at]);
    }
}

unsigned room_config_diff(const struct room_config *was, const struct room_config *is)
{
    unsigned diff = room_logs(was) != room_logs(is) ? DIFF_LOGGING : 0;
    for (unsigned i = 0; i < FIELDS; i++)
        diff |= config_form_same(was, is, &fields[i]) ? 0 : fields[i].diff;
    return diff;
}

/* Reading a form. */

static bool config_form_one_line(slice s)
{
    return s.len == 0 || (memchr(s.ptr, '\n', s.len) == NULL && memchr(s.ptr, '\r', s.len) == NULL);
}

/* Subtags of letters and digits as of RFC 5646 §2.1, the first of letters; empty: not said. */
static bool is_language(slice s)
{
    enum { SUBTAG_MAX = 8, LANGUAGE_MAX = 64 };
    size_t part = 0;
    bool first = true;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool digit = c >= '0' && c <= '9';
        if (c == '-') {
            if (part == 0)
                return false;
            part = 0;
            first = false;
        } else if (!(letter || (digit && !first)) || ++part > SUBTAG_MAX) {
            return false;
        }
    }
    return s.len == 0 || (part > 0 && s.len <= LANGUAGE_MAX);
}

static bool config_form_is_uri(slice s) { return s.len == 0 || slice_starts(s, SLICE("xmpp:")); }

static void config_form_take_text(struct room_config *c, const struct field *fd, struct form *f)
{
    const char *var = fd->row.var;
    slice s;
    bool there = fd->kind == K_LINES ? form_lines(f, var, &s) : form_text(f, var, &s);
    if (!there)
        return;
    if (s.len > ROOM_TEXT_MAX)
        form_wrong(f, SE_NOT_ACCEPTABLE, "the field '%s' has at most %d bytes", var, ROOM_TEXT_MAX);
    else if (!xml_is_text(s))
        form_wrong(f, SE_NOT_ACCEPTABLE, "the field '%s' is not text", var);
    else if (fd->kind != K_LINES && !config_form_one_line(s))
        form_wrong(f, SE_NOT_ACCEPTABLE, "the field '%s' has one line", var);
    else if (fd->kind == K_LANGUAGE && !is_language(s))
        form_wrong(f, SE_NOT_ACCEPTABLE, "the field '%s' is not a language tag", var);
    else if (fd->kind == K_URI && !config_form_is_uri(s))
        form_wrong(f, SE_NOT_ACCEPTABLE, "the field '%s' is not an XMPP URI", var);
    else
        c->text[fd->at] = s;
}

static void take_contacts(struct room_config *c, const struct field *fd, struct form *f)
{
    const slice *jid;
    unsigned count;
    struct buf b;
    if (!form_jids(f, fd->row.var, &jid, &count))
        return;
    if (count > ROOM_CONTACTS_MAX) {
        form_wrong(f, SE_NOT_ACCEPTABLE, "the field '%s' has at most %d addresses", fd->row.var,
                   ROOM_CONTACTS_MAX);
        return;
    }
    buf_init(&b, CONTACTS_BYTES_MAX);
    for (unsigned i = 0; i < count; i++) {
        buf_add(&b, jid[i]);
        buf_lit(&b, "\t");
    }
    c->text[fd->at] = slice_dup(f->tmp, buf_fit(&b));
    buf_fini(&b);
}

static void config_form_take_count(struct room_config *c, const struct field *fd, struct form *f)
{
    const struct form_field *given = form_field(f, fd->row.var);
    int64_t n, min = fd->kind == K_USERS ? 1 : 0;
    if (fd->kind == K_USERS && given->value_count == 1 && slice_is(given->value[0], "none"))
        *config_form_count_at(c, fd) = ROOM_NO_LIMIT;
    else if (form_int(f, fd->row.var, min, setting_int(fd->limit), &n))
        *config_form_count_at(c, fd) = (uint32_t)n;
}

static void take_byte(struct room_config *c, const struct field *fd, struct form *f)
{
    unsigned choice;
    uint32_t set;
    bool yes;
    if (fd->kind == K_CHOICE && form_choice(f, fd->row.var, fd->names, &choice))
        *byte_at(c, fd) = (uint8_t)choice;
    else if (fd->kind == K_SUBJECT && form_bool(f, fd->row.var, &yes))
        *byte_at(c, fd) = yes ? ROLE_PARTICIPANT : ROLE_MODERATOR;
    else if (fd->kind == K_ROLES && form_choices(f, fd->row.var, role_names, &set))
        *byte_at(c, fd) = (uint8_t)(set & ~ROLE_BIT(ROLE_NONE));
}

static void config_form_take(struct room_config *c, const struct field *fd, struct form *f)
{
    switch (fd->kind) {
    case K_BOOL:
        form_bool(f, fd->row.var, config_form_bool_at(c, fd));
        break;
    case K_CHOICE:
    case K_SUBJECT:
    case K_ROLES:
        take_byte(c, fd, f);
        break;
    case K_COUNT:
    case K_USERS:
        config_form_take_count(c, fd, f);
        break;
    case K_JIDS:
        take_contacts(c, fd, f);
        break;
    default:
        config_form_take_text(c, fd, f);
        break;
    }
}

/* Refuses logging where there is none. A room that ends to be persistent is fine: the whole form
 * came back, with the value from before. */
static void config_form_check_logging(const struct room_config *was, const struct room_config *is,
                                      struct form *f)
{
    const char *var = "muc#roomconfig_enablelogging";
    bool wanted;
    if (!form_bool(f, var, &wanted) || !wanted)
        return;
    if (!setting_bool(&muc_archive))
        form_wrong(f, SE_NOT_ACCEPTABLE, "the field '%s' cannot be 1: this server archives no room",
                   var);
    else if (!was->persistent && !is->persistent)
        form_wrong(f, SE_NOT_ACCEPTABLE,
                   "the field '%s' can be 1 in a persistent room only: set "
                   "'muc#roomconfig_persistentroom' to 1 with it, or before",
                   var);
}

/* Checks what must go together; only what the form touches is looked at. */
static void config_form_check_whole(const struct room_config *c, struct form *f)
{
    bool history = form_field(f, "muc#roomconfig_defaulthistorymessages") != NULL ||
                   form_field(f, "muc#maxhistoryfetch") != NULL;
    bool password = form_field(f, "muc#roomconfig_passwordprotectedroom") != NULL ||
                    form_field(f, "muc#roomconfig_roomsecret") != NULL;
    if (history && c->history > c->history_max)
        form_wrong(f, SE_NOT_ACCEPTABLE,
                   "the field 'muc#roomconfig_defaulthistorymessages' cannot be above "
                   "'muc#maxhistoryfetch', which is %" PRIu32,
                   c->history_max);
    if (password && c->password && c->text[ROOM_SECRET].len == 0) /* §10.1.3 */
        form_wrong(f, SE_NOT_ACCEPTABLE, "the field 'muc#roomconfig_roomsecret' cannot be empty");
}

/* Affiliations belong to bare JIDs (§5.2). */
static bool take_people(struct form *f, const char *var, const slice **out, unsigned *count)
{
    const slice *given;
    unsigned n = 0, given_count;
    if (!form_jids(f, var, &given, &given_count))
        return false;
    slice *bare = arena_new(f->tmp, slice, given_count);
    for (unsigned i = 0; i < given_count; i++) {
        struct jid j = jid_split(given[i]);
        unsigned k = 0;
        if (j.local.len == 0)
            return form_wrong(f, SE_NOT_ACCEPTABLE,
                              "the field '%s' has a value that is no address of a user", var);
        bare[n] = jid_bare(&j);
        while (k < n && !slice_eq(bare[k], bare[n]))
            k++;
        n += k == n;
    }
    *out = bare;
    *count = n;
    return true;
}

bool room_config_read(struct room_config *c, struct room_people *people, struct form *f,
                      enum room_editor by)
{
    struct room_config next = *c;
    struct room_people named = { 0 };
    if (f->error != SE_NONE)
        return false;
    if (f->kind == FORM_SUBMIT && f->field_count == 0) {
        *people = named;
        return true;
    }
    if (!form_expect(f, NS_MUC_ROOMCONFIG))
        return false;
    for (unsigned i = 0; i < FIELDS && f->error == SE_NONE; i++) {
        const struct field *fd = &fields[i];
        if (form_field(f, fd->row.var) == NULL)
            continue;
        struct room_config one = *c;
        config_form_take(&one, fd, f);
        if (config_form_same(
                c, &one, fd)) /* two fields may be of one value: the one that changes it counts */
            continue;
        config_form_take(&next, fd, f);
        if (!config_form_may_change(fd, by))
            form_wrong(f, SE_NOT_ACCEPTABLE, "the field '%s' cannot be changed by room owners",
                       fd->row.var);
    }
    config_form_check_whole(&next, f);
    config_form_check_logging(c, &next, f);
    named.has_owners = take_people(f, owners_row.var, &named.owner, &named.owner_count);
    named.has_admins = take_people(f, admins_row.var, &named.admin, &named.admin_count);
    if (named.has_owners && named.owner_count == 0) /* §10.2: one has to stay */
        form_wrong(f, SE_CONFLICT, "the field '%s' cannot be empty", owners_row.var);
    if (f->error != SE_NONE)
        return false;
    *c = next;
    *people = named;
    return true;
}

/* Writing the form. */

static void write_roles(struct xml_write *x, uint8_t roles)
{
    for (unsigned r = ROLE_VISITOR; r < ROOM_ROLES; r++)
        if (roles & ROLE_BIT(r))
            form_value(x, slice_of(role_names[r]));
}

static void write_contacts(struct xml_write *x, slice rest)
{
    slice jid;
    while (room_contact_next(&rest, &jid))
        form_value(x, jid);
}

static uint32_t shown_count(const struct room_config *c, const struct field *fd)
{
    uint32_t n = *config_form_count_at(c, fd);
    if (fd->kind == K_USERS && n == ROOM_NO_LIMIT)
        return n;
    return (int64_t)n > setting_int(fd->limit) ? (uint32_t)setting_int(fd->limit) : n;
}

static slice config_form_count_text(uint32_t n, char text[16])
{
    if (n == ROOM_NO_LIMIT)
        return SLICE("none");
    int len = snprintf(text, 16, "%" PRIu32, n);
    return (slice){ text, (size_t)len };
}

/* The usual sizes up to the limit, the present one among them, and none. */
static void write_users(struct xml_write *x, const struct room_config *c, const struct field *fd)
{
    static const uint32_t usual[] = { 10, 20, 30, 50, 100, 200, 500, 1000, 2000, 5000, 10000 };
    enum { USUAL = sizeof usual / sizeof usual[0] };
    char text[USUAL + 1][16];
    struct form_option options[USUAL + 3] = { 0 };
    struct form_row row = fd->row;
    uint32_t is = shown_count(c, fd);
    bool seen = is == ROOM_NO_LIMIT;
    unsigned n = 0;
    for (unsigned i = 0; i < USUAL && usual[i] <= setting_int(fd->limit); i++) {
        if (!seen && is < usual[i]) {
            config_form_count_text(is, text[n]);
            n++;
        }
        seen = seen || is <= usual[i];
        config_form_count_text(usual[i], text[n]);
        n++;
    }
    if (!seen) {
        config_form_count_text(is, text[n]);
        n++;
    }
    for (unsigned i = 0; i < n; i++)
        options[i].value = text[i];
    options[n] = (struct form_option){ "none", "As many as the service allows" };
    row.options = options;
    char value[16];
    form_ask_value(x, &row, config_form_count_text(is, value));
}

static slice single_value(const struct room_config *c, const struct field *fd, char text[16])
{
    switch (fd->kind) {
    case K_BOOL:
        return (is_logging(fd) ? room_logs(c) : *config_form_bool_at(c, fd)) ? SLICE("1")
                                                                             : SLICE("0");
    case K_CHOICE:
        return slice_of(fd->names[*byte_at(c, fd)]);
    case K_SUBJECT:
        return *byte_at(c, fd) < ROLE_MODERATOR ? SLICE("1") : SLICE("0");
    case K_COUNT:
        return config_form_count_text(shown_count(c, fd), text);
    default:
        return c->text[fd->at];
    }
}

/* Why the room does not do yet what a field says that it shall; NULL: it does. */
static const char *why_idle(const struct room_config *c, const struct field *fd)
{
    bool messages = fd->diff == DIFF_ARCHIVE;
    bool joins = fd->kind == K_BOOL && fd->at == AT(archive_joins);
    if (messages && !setting_bool(&muc_archive))
        return "No message is archived now: this server archives no room.";
    if ((messages || joins) && !c->persistent)
        return "Nothing is archived now: the room is not persistent.";
    return NULL;
}

static void config_form_write_field(struct xml_write *x, const struct room_config *c,
                                    const struct field *fd)
{
    char text[16];
    struct form_row row = fd->row;
    switch (fd->kind) {
    case K_USERS:
        write_users(x, c, fd);
        break;
    case K_ROLES:
        form_ask_open(x, &fd->row);
        write_roles(x, *byte_at(c, fd));
        form_field_close(x);
        break;
    case K_JIDS:
        form_ask_open(x, &fd->row);
        write_contacts(x, c->text[fd->at]);
        form_field_close(x);
        break;
    default:
        row.desc = why_idle(c, fd);
        form_ask_value(x, &row, single_value(c, fd, text));
        break;
    }
}

static void write_people(struct xml_write *x, const struct form_row *row, const slice *jid,
                         unsigned count)
{
    form_ask_open(x, row);
    for (unsigned i = 0; i < count; i++)
        form_value(x, jid[i]);
    form_field_close(x);
}

void room_config_form(struct xml_write *x, const struct room_config *c,
                      const struct room_people *people, slice room, enum room_editor by)
{
    char title[256];
    snprintf(title, sizeof title, "Configuration of %.*s", room.len < 200 ? (int)room.len : 0,
             room.ptr);
    form_open_titled(x, FORM_FORM, NS_MUC_ROOMCONFIG, title, NULL);
    bool may_log = c->persistent && setting_bool(&muc_archive);
    for (unsigned i = 0; i < FIELDS; i++)
        if (config_form_may_change(&fields[i], by) && (may_log || !is_logging(&fields[i])))
            config_form_write_field(x, c, &fields[i]);
    /* a client returns the whole form, which has at most FORM_VALUES_MAX values */
    bool fits = people->owner_count + people->admin_count <= FORM_VALUES_MAX / 2;
    if (fits && people->has_admins)
        write_people(x, &admins_row, people->admin, people->admin_count);
    if (fits && people->has_owners)
        write_people(x, &owners_row, people->owner, people->owner_count);
    form_close(x);
}

/* Stored text: "members_only=1\n" for each field; a newline within a value is "\n", a backslash
 * "\\". All fields are there, as settings shape new rooms only. */

static void config_form_store_text(struct buf *out, slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\n')
            buf_lit(out, "\\n");
        else if (s.ptr[i] == '\\')
            buf_lit(out, "\\\\");
        else
            buf_append(out, s.ptr + i, 1);
    }
}

static void config_form_store_value(struct buf *out, const struct room_config *c,
                                    const struct field *fd)
{
    char text[16];
    switch (fd->kind) {
    case K_BOOL:
        buf_add(out, single_value(c, fd, text));
        break;
    case K_CHOICE:
    case K_SUBJECT:
        buf_add(out, slice_of(fd->names[*byte_at(c, fd)]));
        break;
    case K_ROLES:
        for (unsigned r = ROLE_VISITOR; r < ROOM_ROLES; r++)
            if (*byte_at(c, fd) & ROLE_BIT(r))
                buf_printf(out, "%s,", role_names[r]);
        break;
    case K_COUNT:
    case K_USERS:
        buf_add(out, config_form_count_text(*config_form_count_at(c, fd), text));
        break;
    default:
        config_form_store_text(out, c->text[fd->at]);
        break;
    }
}

void room_config_store(struct buf *out, const struct room_config *c)
{
    for (unsigned i = 0; i < FIELDS; i++) {
        if (is_logging(&fields[i]))
            continue;
        buf_printf(out, "%s=", fields[i].key);
        config_form_store_value(out, c, &fields[i]);
        buf_lit(out, "\n");
    }
}

static bool name_index(const char *const *names, slice value, unsigned *out)
{
    for (unsigned i = 0; names[i] != NULL; i++) {
        if (slice_is(value, names[i])) {
            *out = i;
            return true;
        }
    }
    return false;
}

/* In the form that the reader accepts, so that an owner can return the form unchanged. */
static bool suits(const struct field *fd, slice s)
{
    switch (fd->kind) {
    case K_LINES:
        return true;
    case K_JIDS:
        return s.len == 0 || s.ptr[s.len - 1] == '\t';
    case K_LANGUAGE:
        return is_language(s);
    case K_URI:
        return config_form_is_uri(s) && config_form_one_line(s);
    default:
        return config_form_one_line(s);
    }
}

static void load_text(struct room_config *c, const struct field *fd, slice value, struct arena *tmp)
{
    size_t max = fd->kind == K_JIDS ? (size_t)ROOM_CONTACTS_MAX * (JID_MAX + 1) : ROOM_TEXT_MAX;
    char *text = arena_alloc_raw(tmp, value.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < value.len; i++) {
        bool escaped = value.ptr[i] == '\\' && i + 1 < value.len;
        i += escaped;
        text[len++] = escaped && value.ptr[i] == 'n' ? '\n' : value.ptr[i];
    }
    slice s = { text, len };
    if (len <= max && xml_is_text(s) && suits(fd, s))
        c->text[fd->at] = s;
}

static void load_roles(struct room_config *c, const struct field *fd, slice value)
{
    slice name;
    unsigned roles = 0, role;
    while (slice_cut(value, ',', &name, &value))
        if (name_index(role_names, name, &role) && role > ROLE_NONE)
            roles |= ROLE_BIT(role);
    *byte_at(c, fd) = (uint8_t)roles;
}

static void load_count(struct room_config *c, const struct field *fd, slice value)
{
    int64_t n;
    if (fd->kind == K_USERS && slice_is(value, "none"))
        *config_form_count_at(c, fd) = ROOM_NO_LIMIT;
    else if (slice_int(value, &n) && n >= 0 && n < ROOM_NO_LIMIT)
        *config_form_count_at(c, fd) = (uint32_t)n;
}

static void load_value(struct room_config *c, const struct field *fd, slice value,
                       struct arena *tmp)
{
    unsigned i;
    switch (fd->kind) {
    case K_BOOL:
        if (slice_is(value, "0") || slice_is(value, "1"))
            *config_form_bool_at(c, fd) = slice_is(value, "1");
        break;
    case K_CHOICE:
        if (name_index(fd->names, value, &i))
            *byte_at(c, fd) = (uint8_t)i;
        break;
    case K_SUBJECT:
        if (name_index(fd->names, value, &i) && i >= ROLE_PARTICIPANT)
            *byte_at(c, fd) = (uint8_t)i;
        break;
    case K_ROLES:
        load_roles(c, fd, value);
        break;
    case K_COUNT:
    case K_USERS:
        load_count(c, fd, value);
        break;
    default:
        load_text(c, fd, value, tmp);
        break;
    }
}

void room_config_load(struct room_config *c, slice stored, struct arena *tmp)
{
    slice line, name, value;
    room_config_default(c);
    while (slice_cut(stored, '\n', &line, &stored)) {
        if (!slice_cut(line, '=', &name, &value))
            continue;
        for (unsigned i = 0; i < FIELDS; i++)
            if (fields[i].key != NULL && slice_is(name, fields[i].key))
                load_value(c, &fields[i], value, tmp);
    }
}

/* For operators: the same fields, by their names without the prefixes of protocols, with values as
 * one line of text. */

static slice config_form_short_name(const struct field *fd)
{
    slice var = slice_of(fd->row.var), prefix, rest;
    if (slice_cut(var, '_', &prefix, &rest) || slice_cut(var, '#', &prefix, &rest))
        return rest;
    return var;
}

static bool is_switch(const struct field *fd)
{
    return fd->kind == K_BOOL || fd->kind == K_SUBJECT;
}

static slice value_text(const struct room_config *c, const struct field *fd, struct arena *tmp)
{
    char text[16];
    struct buf b;
    slice rest, jid;
    if (is_switch(fd))
        return slice_is(single_value(c, fd, text), "1") ? SLICE("on") : SLICE("off");
    if (fd->kind == K_USERS)
        return slice_dup(tmp, config_form_count_text(shown_count(c, fd), text));
    if (fd->kind != K_ROLES && fd->kind != K_JIDS)
        return slice_dup(tmp, single_value(c, fd, text));
    buf_init(&b, CONTACTS_BYTES_MAX);
    for (unsigned r = ROLE_VISITOR; fd->kind == K_ROLES && r < ROOM_ROLES; r++)
        if (*byte_at(c, fd) & ROLE_BIT(r))
            buf_printf(&b, "%s%s", b.len > 0 ? " " : "", role_names[r]);
    rest = fd->kind == K_JIDS ? c->text[fd->at] : (slice){ 0 };
    while (room_contact_next(&rest, &jid))
        buf_printf(&b, "%s%.*s", b.len > 0 ? " " : "", SLICE_ARG(jid));
    slice out = slice_dup(tmp, buf_fit(&b));
    buf_fini(&b);
    return out;
}

static slice config_form_joined(const char *const *names, struct arena *tmp)
{
    struct buf b;
    buf_init(&b, NAMES_BYTES_MAX);
    for (unsigned i = 0; names[i] != NULL; i++)
        buf_printf(&b, "%s%s", b.len > 0 ? ", " : "", names[i]);
    slice out = slice_dup(tmp, buf_fit(&b));
    buf_fini(&b);
    return out;
}

static slice config_form_allowed_text(const struct field *fd, struct arena *tmp)
{
    switch (fd->kind) {
    case K_BOOL:
    case K_SUBJECT:
        return SLICE("on, off");
    case K_CHOICE:
        return config_form_joined(fd->names, tmp);
    case K_ROLES:
        return SLICE("any of visitor, participant, moderator");
    case K_COUNT:
        return slice_of(arena_printf(tmp, "0 to %" PRId64, setting_int(fd->limit)));
    case K_USERS:
        return slice_of(arena_printf(tmp, "1 to %" PRId64 ", none", setting_int(fd->limit)));
    case K_LANGUAGE:
        return SLICE("a language tag such as en");
    case K_URI:
        return SLICE("a URI that begins with xmpp:");
    case K_JIDS:
        return slice_of(arena_printf(tmp, "up to %d addresses", ROOM_CONTACTS_MAX));
    default:
        return slice_of(arena_printf(tmp, "up to %d bytes of text", ROOM_TEXT_MAX));
    }
}

void room_config_each(const struct room_config *c, struct arena *tmp, room_config_fn *fn, void *arg)
{
    for (unsigned i = 0; i < FIELDS; i++) {
        const struct field *fd = &fields[i];
        const struct room_field shown = { .name = config_form_short_name(fd),
                                          .label = slice_of(fd->row.label),
                                          .value = value_text(c, fd, tmp),
                                          .allowed = config_form_allowed_text(fd, tmp),
                                          .secret = fd->row.type == FORM_TEXT_PRIVATE };
        fn(&shown, arg);
    }
}

static const struct field *field_named(slice name)
{
    for (unsigned i = 0; i < FIELDS; i++)
        if (slice_eq(name, config_form_short_name(&fields[i])) || slice_is(name, fields[i].row.var))
            return &fields[i];
    return NULL;
}

bool room_config_is_secret(slice name)
{
    const struct field *fd = field_named(name);
    return fd == NULL || fd->row.type == FORM_TEXT_PRIVATE;
}

/* The values that a client would have submitted for this text. */
static unsigned split(const struct field *fd, slice text, slice *value, unsigned max)
{
    unsigned n = 0;
    if (fd->kind != K_ROLES && fd->kind != K_JIDS) {
        bool on = is_switch(fd) && slice_is(text, "on"),
             off = is_switch(fd) && slice_is(text, "off");
        value[0] = on ? SLICE("1") : off ? SLICE("0") : text;
        return 1;
    }
    while (n < max && slice_word(&text, &value[n]))
        n++;
    return n;
}

static bool is_switch_text(slice text)
{
    return slice_is(text, "1") || slice_is(text, "0") || slice_is(text, "true") ||
           slice_is(text, "false");
}

bool room_config_set(struct room_config *c, slice name, slice text, struct form *f,
                     struct arena *tmp)
{
    enum { VALUES_MAX = 64 };
    const struct field *fd = field_named(name);
    *f = (struct form){ .kind = FORM_SUBMIT, .form_type = SLICE(NS_MUC_ROOMCONFIG), .tmp = tmp };
    if (fd == NULL)
        return form_wrong(f, SE_ITEM_NOT_FOUND, "there is no field '%.*s'", SLICE_ARG(name));
    slice *value = arena_new(tmp, slice, VALUES_MAX);
    struct form_field *one = arena_new(tmp, struct form_field, 1);
    *one =
        (struct form_field){ .var = slice_of(fd->row.var), .type = fd->row.type, .value = value };
    one->value_count = split(fd, text, value, VALUES_MAX);
    if (is_switch(fd) && !is_switch_text(value[0]))
        return form_wrong(f, SE_BAD_REQUEST, "%.*s: found '%.*s', allowed on or off",
                          SLICE_ARG(name), SLICE_ARG(text));
    f->field = one;
    f->field_count = 1;
    struct room_people people;
    return room_config_read(c, &people, f, EDITOR_ADMIN);
}
