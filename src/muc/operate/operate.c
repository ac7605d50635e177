#include "muc/operate/operate.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "home/here.h"
#include "home/host.h"
#include "home/node.h"
#include "muc/muc.h"
#include "muc/operate/operate_archive.h"
#include "muc/operate/operate_config.h"
#include "muc/operate/operate_joins.h"
#include "muc/operate/operate_list.h"
#include "muc/operate/operate_owner.h"
#include "muc/people/affiliation.h"
#include "muc/people/find.h"
#include "muc/people/occupant.h"
#include "muc/people/role.h"
#include "muc/people/show.h"
#include "muc/room/config.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "muc/room/settings.h"
#include "muc/state/change.h"
#include "muc/state/create.h"
#include "muc/state/reach.h"
#include "ops/users.h"
#include "store/store.h"

enum { PEOPLE_BYTES_MAX = 64 * 1024, PEOPLE_TEXT_MAX = PEOPLE_BYTES_MAX + 64 };

bool operate_is_line(slice text)
{
    return xml_is_text(text) && memchr(text.ptr, '\n', text.len) == NULL &&
           memchr(text.ptr, '\r', text.len) == NULL;
}

/* room show */

/* As many as fit, and how many more there are; `room affiliations` shows all. */
slice operate_people(const struct room *r, enum affiliation of, struct arena *arena)
{
    struct buf out;
    struct affiliate *a;
    uint32_t more = 0;
    buf_init(&out, PEOPLE_TEXT_MAX);
    for (uint32_t i = 0; (a = map_next(&r->affiliates, &i)) != NULL;)
        if (a->affiliation == of && out.len + 1 + a->jid.len <= PEOPLE_BYTES_MAX)
            buf_printf(&out, "%s%.*s", out.len > 0 ? " " : "", SLICE_ARG(a->jid));
        else
            more += a->affiliation == of;
    if (more > 0)
        buf_printf(&out, " and %u more", more);
    slice text = slice_dup(arena, buf_fit(&out));
    buf_fini(&out);
    return text.ptr == NULL ? SLICE("") : text;
}

static void archive_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), "its archive cannot be read");
        return;
    }
    command_int(call, "messages", store_int(b, 0, 0, 0));
    if (store_int(b, 0, 0, 1) > 0)
        users_add_time(call, "last_message", (uint64_t)store_int(b, 0, 0, 1));
    command_done(call, "%s", "");
}

/* Roles as the settings name them; PM_NOBODY has none. */
static slice lowest_pm(const struct room_config *c)
{
    for (int role = ROLE_VISITOR; role <= ROLE_MODERATOR; role++)
        if (room_may_pm(c, (enum room_role)role))
            return role_name((enum room_role)role);
    return SLICE("nobody");
}

static slice contacts(const struct room_config *c, struct arena *arena)
{
    slice rest = c->text[ROOM_CONTACTS], jid;
    struct buf out;
    buf_init(&out, PEOPLE_TEXT_MAX);
    while (room_contact_next(&rest, &jid))
        buf_printf(&out, "%s%.*s", out.len > 0 ? " " : "", SLICE_ARG(jid));
    slice text = slice_dup(arena, buf_fit(&out));
    buf_fini(&out);
    return text.ptr == NULL ? SLICE("") : text;
}

/* Limits and recording are what they come to, with the settings of now. */
static void show_config(struct command_call *call, const struct room_config *c)
{
    command_text(call, "name", c->text[ROOM_NAME]);
    command_text(call, "description", c->text[ROOM_DESCRIPTION]);
    command_text(call, "language", c->text[ROOM_LANGUAGE]);
    command_text(call, "contacts", contacts(c, call->arena));
    command_text(call, "kind", c->persistent ? SLICE("persistent") : SLICE("adhoc"));
    command_bool(call, "public", c->listed);
    command_bool(call, "members_only", c->members_only);
    command_bool(call, "moderators_invite", !c->member_invites);
    command_bool(call, "self_add", c->self_add);
    command_bool(call, "moderated", c->moderated);
    command_bool(call, "anonymous", c->whois == WHOIS_MODERATORS);
    command_bool(call, "absent_visible", c->absent_visible);
    command_bool(call, "groupchat1", c->groupchat1);
    command_bool(call, "password", c->password);
    command_text(call, "private_messages", lowest_pm(c));
    command_text(call, "change_subject", role_name((enum room_role)c->subject_lowest));
    command_bool(call, "strip_xhtml", c->strip_xhtml);
    command_int(call, "history", room_history(c));
    command_int(call, "history_max", room_history_max(c));
    command_bool(call, "recorded", room_logs(c));
    command_bool(call, "joins_recorded", c->persistent && c->archive_joins);
    command_int(call, "occupants_max", room_users_max(c));
    command_int(call, "hidden_max", room_hidden_max(c));
}

static void operate_show(struct room *r, void *arg)
{
    struct command_call *call = arg;
    struct arena *tmp = room_scratch(r);
    command_row(call);
    command_text(call, "jid", r->jid);
    show_config(call, &r->config);
    users_add_time(call, "created", r->created_us);
    command_text(call, "creator", r->creator);
    command_text(call, "owners", operate_people(r, AFF_OWNER, call->arena));
    command_text(call, "admins", operate_people(r, AFF_ADMIN, call->arena));
    command_text(call, "members", operate_people(r, AFF_MEMBER, call->arena));
    command_text(call, "outcasts", operate_people(r, AFF_OUTCAST, call->arena));
    command_int(call, "occupants", r->occupant_count);
    command_bool(call, "locked", r->locked);
    if (r->subject != NULL)
        command_text(call, "subject", stanza_child_text(r->subject, KNOWN_SUBJECT, tmp));
    struct store_batch *b = store_read(room_store(r), (uint64_t)r->id);
    store_read_late(b, r->id);
    STORE_ADD(b, &operate_archive_stmt, STORE_ANY_ROWS, SV_I(r->id));
    store_submit(b, room_loop(r), 0, archive_read, call);
}

static void operate_run_show(struct command_call *call) { operate_visit(call, operate_show, call); }

/* room affiliations, room occupants */

static void affiliations(struct room *r, void *arg)
{
    struct command_call *call = arg;
    const struct affiliate *a;
    for (uint32_t i = 0; (a = map_next(&r->affiliates, &i)) != NULL;) {
        command_row(call);
        command_text(call, "jid", a->jid);
        command_text(call, "affiliation", affiliation_name((enum affiliation)a->affiliation));
        command_text(call, "nick", a->nick);
        command_text(call, "reason", a->reason);
    }
    command_done_listed(call, "jid");
}

static void run_affiliations(struct command_call *call) { operate_visit(call, affiliations, call); }

static void occupants(struct room *r, void *arg)
{
    struct command_call *call = arg;
    LIST_EACH (it, &r->occupants) {
        const struct occupant *o = CONTAINER_OF(it, struct occupant, node);
        LIST_EACH (at, &o->seats) {
            const struct seat *s = CONTAINER_OF(at, struct seat, node);
            command_row(call);
            command_text(call, "nick", o->nick);
            command_text(call, "jid", s->jid);
            command_text(call, "affiliation", affiliation_name((enum affiliation)o->affiliation));
            command_text(call, "role", role_name((enum room_role)o->role));
            command_bool(call, "hidden", o->hidden);
        }
    }
    command_done_listed(call, "jid");
}

static void run_occupants(struct command_call *call) { operate_visit(call, occupants, call); }

/* Commands that change a room. */

struct change {
    struct command_call *call;
    slice room, owners, user;
    enum affiliation affiliation;
};

static struct change *change_new(struct command_call *call)
{
    struct change *c = arena_new(call->arena, struct change, 1);
    c->call = call;
    c->room = command_arg(call, "room");
    return c;
}

void operate_fail(struct command_call *call, slice room, enum err e)
{
    const char *why = e == E_LIMIT      ? "its lists are full"
                      : e == E_AGAIN    ? "muc.persistent-max allows no more persistent rooms"
                      : e == E_CONFLICT ? "the last owner cannot go; make somebody else one first"
                      : e == E_DOWN     ? "the database does not store now, `alarm list` tells why"
                                        : err_text(e);
    command_fail(call, e, "%.*s: %s; %s", SLICE_ARG(room), why, command_outcome(e));
}

static void operate_change_fail(const struct change *c, enum err e)
{
    operate_fail(c->call, c->room, e);
}

bool operate_names_owners(struct command_call *call)
{
    slice owners = command_arg(call, "owners"), one;
    if (owners.ptr == NULL || slice_word(&owners, &one))
        return true;
    call->culprit = "owners";
    command_fail(call, E_SYNTAX, "owners: found none, allowed: one or more addresses of users");
    return false;
}

void operate_add_owners(const struct room *r, slice users, struct map *all, struct room_delta *d)
{
    struct arena *tmp = room_scratch(r);
    uint32_t count = 0;
    slice rest = users, one;
    while (slice_word(&rest, &one))
        count++;
    slice *jid = arena_new(tmp, slice, count + 1);
    d->edit = arena_new(tmp, struct affiliation_edit, r->owners + count + 1);
    for (; slice_word(&users, jid); jid++) {
        if (map_get(all, *jid) == NULL && room_affiliation(r, *jid) != AFF_OWNER)
            d->edit[d->edit_count++] = room_edit(r, *jid, AFF_OWNER);
        if (map_get(all, *jid) == NULL)
            map_put(all, jid);
    }
}

static void operate_created(struct room *r, enum err e, void *arg)
{
    const struct change *c = arg;
    (void)r;
    if (e == E_AGAIN)
        command_fail(c->call, e,
                     "%.*s: muc.persistent-max allows no more than %lld persistent "
                     "rooms; nothing was changed",
                     SLICE_ARG(c->room), (long long)setting_int(&muc_persistent_max));
    else if (e != OK)
        operate_change_fail(c, e);
    else
        command_done(c->call, "room %.*s created, owned by %.*s", SLICE_ARG(c->room),
                     SLICE_ARG(c->owners));
}

static void operate_create(struct room *r, void *arg)
{
    const struct change *c = arg;
    struct command_call *call = c->call;
    struct why why;
    ensure(room_here(r));
    if (r->state == ACTOR_READY) {
        command_fail(call, E_EXISTS, "there is a room %.*s already", SLICE_ARG(c->room));
        return;
    }
    slice others = c->owners, creator;
    slice_word(&others, &creator);
    if (room_create(r, creator, &why) != OK) {
        command_fail(call, E_LIMIT, "%s", why.text);
        return;
    }
    struct room_config config = r->config, *keep = mem_new(struct room_config);
    config.persistent = true;
    config.listed = command_number(call, "public", true) != 0;
    config.members_only = config.members_only || command_flag(call, "members_only");
    config.moderated = config.moderated || command_flag(call, "moderated");
    config.text[ROOM_NAME] = command_arg(call, "name");
    config.text[ROOM_DESCRIPTION] = command_arg(call, "description");
    room_config_keep(keep, &config);
    struct room_delta d = { .config = keep, .unlock = true };
    struct map all;
    map_init(&all, map_key_slice);
    operate_add_owners(r, others, &all, &d);
    map_fini(&all);
    room_commit(r, &d, operate_created, arg);
}

static void create_known(void *arg)
{
    struct change *c = arg;
    operate_visit_anyhow(c->call, operate_create, c);
}

static void operate_run_create(struct command_call *call)
{
    struct change *c = change_new(call);
    c->owners = command_arg(call, "owners");
    if (!setting_bool(&muc_persistent))
        command_fail(call, E_DENIED, "muc.persistent is off: no room stays while nobody is in it");
    else if (operate_names_owners(call))
        operate_with_known(call, c->owners, create_known, c);
}

static void operate_destroyed(struct room *r, enum err e, void *arg)
{
    const struct change *c = arg;
    (void)r;
    if (e != OK)
        operate_change_fail(c, e);
    else
        command_done(c->call, "room %.*s destroyed", SLICE_ARG(c->room));
}

static void operate_destroy(struct room *r, void *arg)
{
    const struct change *c = arg;
    struct arena *arena = c->call->arena;
    const char *count = arena_printf(arena, "%u", (unsigned)r->affiliates.count);
    command_changed(
        c->call,
        command_changed_parts(
            arena, (const struct command_part[]){ { "name", r->config.text[ROOM_NAME] },
                                                  { "owners", operate_people(r, AFF_OWNER, arena) },
                                                  { "affiliations", slice_of(count) },
                                                  { 0 } }),
        SLICE(""));
    room_commit(r,
                &(struct room_delta){ .destroy = true,
                                      .by = c->call->who.actor,
                                      .reason = command_arg(c->call, "reason"),
                                      .alternate = command_arg(c->call, "alternate") },
                operate_destroyed, arg);
}

static void run_destroy(struct command_call *call)
{
    operate_visit(call, operate_destroy, change_new(call));
}

static void operate_kick(struct room *r, void *arg)
{
    const struct change *c = arg;
    slice nick = command_arg(c->call, "nick");
    struct occupant *o = room_occupant(r, nick, room_scratch(r));
    ensure(room_here(r) && r->state == ACTOR_READY);
    if (o == NULL) {
        command_fail(c->call, E_NOTFOUND,
                     "nobody in %.*s is called %.*s; `room occupants` shows "
                     "all",
                     SLICE_ARG(c->room), SLICE_ARG(nick));
        return;
    }
    room_set_role(r, o, ROLE_NONE,
                  &(struct show){ .codes = "307", .reason = command_arg(c->call, "reason") });
    command_done(c->call, "%.*s was removed from %.*s", SLICE_ARG(nick), SLICE_ARG(c->room));
}

static void run_kick(struct command_call *call)
{
    operate_visit(call, operate_kick, change_new(call));
}

static void affiliated(struct room *r, enum err e, void *arg)
{
    const struct change *c = arg;
    slice name = affiliation_name(c->affiliation);
    (void)r;
    if (e != OK)
        operate_change_fail(c, e);
    else
        command_done(c->call, "%.*s: %.*s in %.*s", SLICE_ARG(c->user), SLICE_ARG(name),
                     SLICE_ARG(c->room));
}

static void affiliate(struct room *r, void *arg)
{
    const struct change *c = arg;
    struct affiliation_edit edit = room_edit(r, c->user, c->affiliation);
    edit.reason = command_arg(c->call, "reason");
    command_changed(c->call, affiliation_name(room_affiliation(r, c->user)),
                    affiliation_name(c->affiliation));
    room_commit(r, &(struct room_delta){ .edit = &edit, .edit_count = 1 }, affiliated, arg);
}

static void affiliate_known(void *arg)
{
    struct change *c = arg;
    operate_visit(c->call, affiliate, c);
}

/* A mistyped address gets no rights, but who is gone may be banned or forgotten. */
static void run_affiliation(struct command_call *call)
{
    struct change *c = change_new(call);
    struct jid at = jid_split(command_arg(call, "jid"));
    c->user = jid_bare(&at);
    if (!affiliation_of(command_arg(call, "affiliation"), &c->affiliation) || at.resource.len > 0 ||
        (jid_is_domain(&at) && c->affiliation > AFF_NONE))
        /* a domain may be banned, and the ban lifted (XEP-0045 §9.1) */
        command_fail(call, E_SYNTAX, "found %.*s, allowed: an address name@domain",
                     SLICE_ARG(command_arg(call, "jid")));
    else if (c->affiliation > AFF_NONE)
        operate_with_known(call, c->user, affiliate_known, c);
    else
        affiliate_known(c);
}

/* Rows. */

struct store_stmt operate_archive_stmt = {
    .name = "room.archive-size",
    .sql = "SELECT COUNT(*), COALESCE(MAX(id), 0) FROM entry WHERE owner = $1 AND flags < 2",
    .params = "i",
    .cols = "ii",
};
static const struct store_migration none[] = { { 0 } };
static const struct store_schema schema = {
    .feature = "muc_operate",
    .migrations = none,
    .stmts = (struct store_stmt *const[]){ &operate_archive_stmt, &operate_page_stmt,
                                           &operate_people_stmt, &operate_joins_stmt,
                                           &archive_room_stmt, NULL },
};

#define ROOM_ARG                                                                                   \
    {                                                                                              \
        .name = "room", .kind = ARG_POSITIONAL, .type = PARAM_ROOM, .doc = "address of the room"   \
    }

static const struct command_arg room_args[] = { ROOM_ARG, { 0 } };
static const struct command_arg people_args[] = { ROOM_ARG, COMMAND_PAGE_ARGS("address"), { 0 } };
static const struct command_arg create_args[] = {
    ROOM_ARG,
    { .name = "owners",
      .kind = ARG_POSITIONAL,
      .type = PARAM_BARE,
      .many = true,
      .doc = "addresses of its owners, separated by spaces; the first counts as its creator" },
    { .name = "name", .kind = ARG_OPTION, OPERATE_LINE, .doc = "its name" },
    { .name = "description", .kind = ARG_OPTION, OPERATE_TEXT, .doc = "its description" },
    { .name = "public",
      .kind = ARG_OPTION,
      .type = PARAM_BOOL,
      .doc = "off: clients do not see it in the list of rooms" },
    { .name = "members_only",
      .kind = ARG_FLAG,
      .type = PARAM_BOOL,
      .doc = "only members, administrators and owners can enter" },
    { .name = "moderated",
      .kind = ARG_FLAG,
      .type = PARAM_BOOL,
      .doc = "only users with voice can speak" },
    { 0 },
};
static const struct command_arg destroy_args[] = {
    ROOM_ARG,
    { .name = "reason", .kind = ARG_OPTION, OPERATE_TEXT, .doc = "sent to its occupants" },
    { .name = "alternate",
      .kind = ARG_OPTION,
      .type = PARAM_JID,
      .doc = "address of a room that replaces it" },
    { 0 },
};
static const struct command_arg kick_args[] = {
    ROOM_ARG,
    { .name = "nick", .kind = ARG_POSITIONAL, .doc = "nickname in the room" },
    { .name = "reason", .kind = ARG_OPTION, OPERATE_TEXT, .doc = "sent to all occupants" },
    { 0 },
};
static const char *const affiliation_names[] = {
    "owner", "admin", "member", "none", "outcast", NULL
};
static const struct command_arg affiliation_args[] = {
    ROOM_ARG,
    { .name = "jid",
      .kind = ARG_POSITIONAL,
      .type = PARAM_JID,
      .doc = "address of the user, name@domain; or a domain, for outcast" },
    { .name = "affiliation",
      .kind = ARG_POSITIONAL,
      .type = PARAM_CHOICE,
      .choices = affiliation_names,
      .doc = "owner, admin, member, none or outcast" },
    { .name = "reason", .kind = ARG_OPTION, OPERATE_TEXT, .doc = "sent to the users concerned" },
    { 0 },
};

static struct command show_command = {
    .name = "room show",
    .rest = "GET /rooms/{room}",
    .home = "room",
    .effect = COMMAND_READS,
    .area = "rooms",
    .args = room_args,
    .run = operate_run_show,
    .doc = "Shows a room: its configuration, affiliations, and number of archived messages.",
    .record = true,
    .columns =
        (const struct command_column[]){
            { .name = "jid", .type = PARAM_ROOM, .doc = "address of the room" },
            { .name = "name", .doc = "its name" },
            { .name = "description", .doc = "its description" },
            { .name = "language", .doc = "its language" },
            { .name = "contacts", .doc = "addresses of those to ask" },
            { .name = "kind", .doc = "persistent or adhoc" },
            { .name = "public", .type = PARAM_BOOL, .doc = "whether clients see it in the list" },
            { .name = "members_only", .type = PARAM_BOOL, .doc = "whether only members can enter" },
            { .name = "moderators_invite",
              .type = PARAM_BOOL,
              .doc = "whether only moderators may invite" },
            { .name = "self_add",
              .type = PARAM_BOOL,
              .doc = "whether users can make themselves members" },
            { .name = "moderated",
              .type = PARAM_BOOL,
              .doc = "whether only users with voice can speak" },
            { .name = "anonymous",
              .type = PARAM_BOOL,
              .doc = "whether only moderators see addresses" },
            { .name = "absent_visible",
              .type = PARAM_BOOL,
              .doc = "whether members are seen while they are absent" },
            { .name = "groupchat1",
              .type = PARAM_BOOL,
              .doc = "whether clients can enter by the old protocol" },
            { .name = "password", .type = PARAM_BOOL, .doc = "whether it has a password" },
            { .name = "private_messages", .doc = "lowest role that may send private messages" },
            { .name = "change_subject", .doc = "lowest role that may change the subject" },
            { .name = "strip_xhtml",
              .type = PARAM_BOOL,
              .doc = "whether formatting is taken out of messages" },
            { .name = "history", .type = PARAM_INT, .doc = "messages for who enters" },
            { .name = "history_max", .type = PARAM_INT, .doc = "at most" },
            { .name = "recorded", .type = PARAM_BOOL, .doc = "whether messages are archived" },
            { .name = "joins_recorded",
              .type = PARAM_BOOL,
              .doc = "whether entering and leaving is archived" },
            { .name = "occupants_max", .type = PARAM_INT, .doc = "how many may be in it" },
            { .name = "hidden_max", .type = PARAM_INT, .doc = "how many of them may be hidden" },
            { .name = "creator", .doc = "who made it" },
            { .name = "created", .type = PARAM_STAMP, .doc = "when it was made" },
            { .name = "owners", .doc = "their addresses" },
            { .name = "admins", .doc = "their addresses" },
            { .name = "members", .doc = "their addresses" },
            { .name = "outcasts", .doc = "addresses of the banned" },
            { .name = "occupants", .moves = true, .type = PARAM_INT, .doc = "how many are in it" },
            { .name = "locked", .type = PARAM_BOOL, .doc = "whether it waits for its owner" },
            { .name = "subject", .optional = true, .doc = "its subject" },
            { .name = "messages", .moves = true, .type = PARAM_INT, .doc = "archived messages" },
            { .name = "last_message",
              .moves = true,
              .optional = true,
              .type = PARAM_STAMP,
              .doc = "the last of them" },
            { 0 } },
};
static struct command affiliations_command = {
    .name = "room affiliations",
    .rest = "GET /rooms/{room}/affiliations",
    .home = "room",
    .effect = COMMAND_READS,
    .area = "rooms",
    .args = people_args,
    .run = run_affiliations,
    .doc = "Lists the affiliations of a room.",
    .columns =
        (const struct command_column[]){
            { .name = "jid", .type = PARAM_JID, .doc = "the user, or a domain" },
            { .name = "affiliation", .doc = "owner, admin, member or outcast" },
            { .name = "nick", .doc = "registered nickname" },
            { .name = "reason", .doc = "why" },
            { 0 } },
};
static struct command occupants_command = {
    .name = "room occupants",
    .rest = "GET /rooms/{room}/occupants",
    .home = "room",
    .effect = COMMAND_READS,
    .area = "rooms",
    .args = people_args,
    .run = run_occupants,
    .doc = "Lists the occupants of a room, a row for each session.",
    .columns =
        (const struct command_column[]){
            { .name = "nick", .doc = "nickname" },
            { .name = "jid", .type = PARAM_JID, .doc = "address of the session" },
            { .name = "affiliation", .doc = "owner, admin, member or none" },
            { .name = "role", .doc = "moderator, participant or visitor" },
            { .name = "hidden", .type = PARAM_BOOL, .doc = "whether others do not see them" },
            { 0 } },
};
static struct command create_command = {
    .name = "room create",
    .rest = "POST /rooms, PUT /rooms/{room}",
    .effect = COMMAND_CHANGES,
    .area = "rooms",
    .home = "room",
    .args = create_args,
    .run = operate_run_create,
    .doc = "Creates a persistent room. The settings muc.new-* determine the rest of its "
           "configuration.",
};
static struct command destroy_command = {
    .name = "room destroy",
    .rest = "DELETE /rooms/{room}",
    .effect = COMMAND_CHANGES,
    .area = "rooms",
    .home = "room",
    .asks = "The room, its members and its messages are deleted.",
    .args = destroy_args,
    .run = run_destroy,
    .doc = "Destroys a room and its archive. Its occupants are notified.",
};
static struct command kick_command = {
    .name = "room kick",
    .rest = "DELETE /rooms/{room}/occupants/{nick}",
    .effect = COMMAND_CHANGES,
    .area = "rooms",
    .home = "room",
    .args = kick_args,
    .run = run_kick,
    .doc = "Removes an occupant from a room. They can enter again if the room allows it.",
};
static struct command affiliation_command = {
    .name = "room affiliation",
    .rest = "PUT /rooms/{room}/affiliations/{jid}",
    .effect = COMMAND_CHANGES,
    .area = "rooms",
    .home = "room",
    .args = affiliation_args,
    .run = run_affiliation,
    .doc = "Changes the affiliation of a user with a room, at once.",
};

const struct feature muc_operate_feature = {
    .name = "muc_operate",
    .parts = PART_ROOM,
    .messages =
        (const struct message_row *const[]){ &owner_asked_message, &owner_told_message, NULL },
    .schema = &schema,
    .commands =
        (struct command *const[]){ &room_list_command, &room_report_command, &show_command,
                                   &affiliations_command, &occupants_command, &create_command,
                                   &destroy_command, &kick_command, &affiliation_command,
                                   &room_owner_command, &room_fields_command, &room_set_command,
                                   &room_change_command, &room_unlock_command, &room_joins_command,
                                   &archive_room_command, NULL },
};
