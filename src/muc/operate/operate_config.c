#include "muc/operate/operate_config.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "muc/operate/operate.h"
#include "muc/people/affiliation.h"
#include "muc/room/config.h"
#include "muc/room/config_form.h"
#include "muc/room/room.h"
#include "muc/state/change.h"
#include "muc/state/reach.h"
#include "xmpp/form.h"

struct task {
    struct command_call *call;
    slice room;
};

static struct task *operate_config_task_new(struct command_call *call)
{
    struct task *t = arena_new(call->arena, struct task, 1);
    t->call = call;
    t->room = command_arg(call, "room");
    return t;
}

/* room fields */

static void show_field(const struct room_field *shown, void *arg)
{
    struct command_call *call = arg;
    bool hides = shown->secret && shown->value.len > 0;
    command_row(call);
    command_text(call, "field", shown->name);
    command_text(call, "value", hides ? SLICE("(not shown)") : shown->value);
    command_text(call, "allowed", shown->allowed);
    command_text(call, "meaning", shown->label);
}

static void fields(struct room *r, void *arg)
{
    struct task *t = arg;
    room_config_each(&r->config, t->call->arena, show_field, t->call);
    command_done(t->call, "%s", "");
}

static void run_fields(struct command_call *call)
{
    operate_visit(call, fields, operate_config_task_new(call));
}

/* For the audit log: the fields that differ, without passwords. */
struct field_notes {
    struct arena *arena;
    struct field_note {
        struct field_note *next;
        const char *name;
        slice value;
        bool secret;
    } * first, **tail;
};

static void keep_field(const struct room_field *shown, void *arg)
{
    struct field_notes *notes = arg;
    struct field_note *note = arena_new(notes->arena, struct field_note, 1);
    *note = (struct field_note){ .name = slice_cstr(notes->arena, shown->name),
                                 .value = slice_dup(notes->arena, shown->value),
                                 .secret = shown->secret };
    *notes->tail = note;
    notes->tail = &note->next;
}

static const struct field_note *fields_of(const struct room_config *config, struct arena *arena)
{
    struct field_notes notes = { .arena = arena, .tail = &notes.first };
    room_config_each(config, arena, keep_field, &notes);
    return notes.first;
}

static void note_field(struct buf *out, const struct field_note *note)
{
    command_changed_part(out, note->name, note->secret ? SLICE("(not shown)") : note->value);
}

static void note_owners(struct buf *out, slice owners)
{
    note_field(out, &(struct field_note){ .name = "owners", .value = owners });
}

/* owners: the argument; ptr NULL: they stay. */
static void note_change(struct command_call *call, const struct room *r,
                        const struct room_config *next, slice owners)
{
    const struct field_note *was = fields_of(&r->config, call->arena),
                            *is = fields_of(next, call->arena);
    struct buf before, after;
    buf_init(&before, COMMAND_CHANGED_MAX);
    buf_init(&after, COMMAND_CHANGED_MAX);
    for (; was != NULL && is != NULL; was = was->next, is = is->next)
        if (!slice_eq(was->value, is->value)) {
            note_field(&before, was);
            note_field(&after, is);
        }
    if (owners.ptr != NULL) {
        note_owners(&before, operate_people(r, AFF_OWNER, call->arena));
        note_owners(&after, owners);
    }
    command_changed(call, buf_fit(&before), buf_fit(&after));
    buf_fini(&before);
    buf_fini(&after);
}

/* room set, room unlock */

static void operate_config_changed(struct room *r, enum err e, void *arg)
{
    struct task *t = arg;
    (void)r;
    if (e != OK)
        operate_fail(t->call, t->room, e);
    else
        command_done(t->call, "%.*s is configured", SLICE_ARG(t->room));
}

static void set_in_turn(struct room *r, enum err e, void *arg)
{
    struct task *t = arg;
    struct command_call *call = t->call;
    struct room_config next;
    struct room_delta d = { 0 };
    struct form f;
    struct why why;
    ensure(room_here(r) && t->call != NULL);
    if (e != OK) {
        operate_fail(call, t->room, e);
        return;
    }
    next = r->config;
    next.own = NULL;
    if (!room_config_set(&next, command_arg(call, "field"), command_arg(call, "value"), &f,
                         call->arena))
        command_fail(call, f.error == SE_ITEM_NOT_FOUND ? E_NOTFOUND : E_SYNTAX,
                     "%.*s; `room fields %.*s` shows all, and what is allowed", SLICE_ARG(f.text),
                     SLICE_ARG(t->room));
    else if (!room_reconfigure(r, &next, &d, &why))
        command_fail(call, E_DENIED, "%s", why.text);
    else {
        note_change(call, r, &next, (slice){ 0 });
        room_commit(r, &d, operate_config_changed, t);
    }
}

static void operate_config_set(struct room *r, void *arg) { room_turn(r, set_in_turn, arg); }

static void operate_config_run_set(struct command_call *call)
{
    call->discreet = room_config_is_secret(command_arg(call, "field"));
    operate_visit(call, operate_config_set, operate_config_task_new(call));
}

/* room change */

static void change_read(const struct command_call *call, struct room_config *next)
{
    slice name = command_arg(call, "name"), description = command_arg(call, "description");
    if (name.ptr != NULL)
        next->text[ROOM_NAME] = name;
    if (description.ptr != NULL)
        next->text[ROOM_DESCRIPTION] = description;
    next->listed = command_number(call, "public", next->listed) != 0;
    next->members_only = command_number(call, "members_only", next->members_only) != 0;
    next->moderated = command_number(call, "moderated", next->moderated) != 0;
}

/* Former owners become members. */
static void change_owners(const struct room *r, slice owners, struct room_delta *d)
{
    const struct affiliate *a;
    struct map stay;
    map_init(&stay, map_key_slice);
    operate_add_owners(r, owners, &stay, d);
    for (uint32_t i = 0; (a = map_next(&r->affiliates, &i)) != NULL;)
        if (a->affiliation == AFF_OWNER && map_get(&stay, a->jid) == NULL)
            d->edit[d->edit_count++] = room_edit(r, a->jid, AFF_MEMBER);
    map_fini(&stay);
}

static void change_in_turn(struct room *r, enum err e, void *arg)
{
    struct task *t = arg;
    slice owners = command_arg(t->call, "owners");
    struct room_config next;
    struct room_delta d = { 0 };
    struct why why;
    if (e != OK) {
        operate_fail(t->call, t->room, e);
        return;
    }
    next = r->config;
    next.own = NULL;
    change_read(t->call, &next);
    if (!room_reconfigure(r, &next, &d, &why)) {
        command_fail(t->call, E_DENIED, "%s", why.text);
        return;
    }
    if (owners.ptr != NULL)
        change_owners(r, owners, &d);
    note_change(t->call, r, &next, owners);
    room_commit(r, &d, operate_config_changed, t);
}

static void operate_config_change(struct room *r, void *arg) { room_turn(r, change_in_turn, arg); }

static void change_known(void *arg)
{
    struct task *t = arg;
    operate_visit(t->call, operate_config_change, t);
}

static void run_change(struct command_call *call)
{
    struct task *t = operate_config_task_new(call);
    slice owners = command_arg(call, "owners");
    bool any = false;
    for (unsigned i = 0; call->command->args[i].name != NULL; i++)
        any = any || (call->args[i].ptr != NULL && call->command->args[i].kind == ARG_OPTION);
    if (!any)
        command_fail(call, E_SYNTAX, "found nothing to change, allowed: --name, --public, ...");
    else if (operate_names_owners(call))
        operate_with_known(call, owners, change_known, t);
}

static void unlocked(struct room *r, enum err e, void *arg)
{
    struct task *t = arg;
    (void)r;
    if (e != OK)
        operate_fail(t->call, t->room, e);
    else
        command_done(t->call, "%.*s is open", SLICE_ARG(t->room));
}

static void unlock_in_turn(struct room *r, enum err e, void *arg)
{
    struct task *t = arg;
    struct room_delta d = { 0 };
    struct why why;
    if (e != OK)
        operate_fail(t->call, t->room, e);
    else if (!r->locked)
        command_done(t->call, "%.*s was open already", SLICE_ARG(t->room));
    else if (!room_reconfigure(r, &r->config, &d, &why))
        command_fail(t->call, E_DENIED, "%s", why.text);
    else
        room_commit(r, &d, unlocked, t);
}

static void operate_config_unlock(struct room *r, void *arg) { room_turn(r, unlock_in_turn, arg); }

static void run_unlock(struct command_call *call)
{
    operate_visit(call, operate_config_unlock, operate_config_task_new(call));
}

/* Rows. */

static const struct command_arg room_args[] = {
    { .name = "room", .kind = ARG_POSITIONAL, .type = PARAM_ROOM, .doc = "address of the room" },
    { 0 },
};
static const struct command_arg set_args[] = {
    { .name = "room", .kind = ARG_POSITIONAL, .type = PARAM_ROOM, .doc = "address of the room" },
    { .name = "field",
      .kind = ARG_POSITIONAL,
      .doc = "name of a field of the configuration, such as membersonly" },
    { .name = "value",
      .kind = ARG_POSITIONAL,
      .listed = true,
      .doc = "its value; several values are separated by spaces" },
    { 0 },
};

#define CHANGE_SWITCH(is, text)                                                                    \
    {                                                                                              \
        .name = is, .kind = ARG_OPTION, .type = PARAM_BOOL, .doc = text                            \
    }
static const struct command_arg change_args[] = {
    { .name = "room", .kind = ARG_POSITIONAL, .type = PARAM_ROOM, .doc = "address of the room" },
    { .name = "owners",
      .kind = ARG_OPTION,
      .type = PARAM_BARE,
      .many = true,
      .doc = "addresses of all its owners, separated by spaces; the others become members" },
    { .name = "name", .kind = ARG_OPTION, OPERATE_LINE, .example = "Hall", .doc = "its name" },
    { .name = "description", .kind = ARG_OPTION, OPERATE_TEXT, .doc = "its description" },
    CHANGE_SWITCH("public", "on: clients see it in the list of rooms"),
    CHANGE_SWITCH("members_only", "on: only members, administrators and owners can enter"),
    CHANGE_SWITCH("moderated", "on: only users with voice can speak"),
    { 0 },
};

struct command room_fields_command = {
    .name = "room fields",
    .rest = "GET /rooms/{room}/fields",
    .home = "room",
    .effect = COMMAND_READS,
    .area = "rooms",
    .args = room_args,
    .run = run_fields,
    .doc = "Shows the configuration of a room: fields, values and allowed values. `room set` "
           "changes a field.",
    .columns = (const struct command_column[]){ { .name = "field", .doc = "its name" },
                                                { .name = "value", .doc = "its value" },
                                                { .name = "allowed", .doc = "what is allowed" },
                                                { .name = "meaning", .doc = "what it does" },
                                                { 0 } },
};
struct command room_set_command = {
    .name = "room set",
    .rest = "PUT /rooms/{room}/fields/{field}",
    .effect = COMMAND_CHANGES,
    .area = "rooms",
    .home = "room",
    .args = set_args,
    .run = operate_config_run_set,
    .doc = "Changes one field of a room's configuration. Its owner can do the same with a client. "
           "Occupants are notified. If the room is locked because it was not configured yet, this "
           "unlocks it.",
};
struct command room_change_command = {
    .name = "room change",
    .rest = "PATCH /rooms/{room}",
    .effect = COMMAND_CHANGES,
    .area = "rooms",
    .home = "room",
    .args = change_args,
    .run = run_change,
    .doc = "Changes what `room create` determines. Options that are not given stay as they are; "
           "`room set` changes all other fields. If the room is locked because it was not "
           "configured yet, this unlocks it.",
};
struct command room_unlock_command = {
    .name = "room unlock",
    .rest = "POST /rooms/{room}/unlock",
    .effect = COMMAND_CHANGES,
    .area = "rooms",
    .home = "room",
    .args = room_args,
    .run = run_unlock,
    .doc = "Unlocks a new room that its owner has not configured. Others can then enter it. This "
           "happens by itself after muc.lock-timeout.",
};
