#include "base/arena.h"
#include "base/ensure.h"
#include "convert/ejabberd_rows.h"
#include "convert/room.h"
#include "xmpp/jid.h"

struct ejabberd_room {
    struct ejabberd_reader *r;
    struct room_writer file;
    bool found; /* its row */
    const char *problem;
};

/* The configuration: {muc_room, {NAME, HOST}, [{OPTION, VALUE}]}. */

static const struct room_setting room_options[] = {
    { "title", "name", ROOM_LINE },
    { "description", "description", ROOM_LINES },
    { "lang", "language", ROOM_LANGUAGE },
    { "public", "listed", ROOM_TRUTH },
    { "members_only", "members_only", ROOM_TRUTH },
    { "allow_user_invites", "member_invites", ROOM_TRUTH },
    { "password_protected", "password", ROOM_TRUTH },
    { "password", "secret", ROOM_LINE },
    { "anonymous", "whois", ROOM_WHOIS },
    { "allow_change_subj", "subject_lowest", ROOM_SUBJECT },
    { "allow_private_messages", "pm", ROOM_PRIVATE },
    { "presence_broadcast", "presence_roles", ROOM_USED },
    { "max_users", "users_max", ROOM_COUNT },
    { "mam", "archive", ROOM_TRUTH },
    { "allow_subscription", NULL, ROOM_OFF },
    { "allow_voice_requests", NULL, ROOM_NONE },
    { "allow_query_users", NULL, ROOM_NONE },
    { "allow_private_messages_from_visitors", NULL, ROOM_NONE },
    { "allow_visitor_nickchange", NULL, ROOM_NONE },
    { "allow_visitor_status", NULL, ROOM_NONE },
    { "affiliations", NULL, ROOM_USED },
    { "captcha_protected", NULL, ROOM_OFF },
    { "captcha_whitelist", NULL, ROOM_NONE },
    { "enable_hats", NULL, ROOM_NONE },
    { "hats_users", NULL, ROOM_OFF },
    { "hibernation_time", NULL, ROOM_NONE },
    { "logging", NULL, ROOM_OFF },
    { "members_by_default", NULL, ROOM_USED },
    { "moderated", NULL, ROOM_USED },
    { "persistent", NULL, ROOM_USED },
    { "public_list", NULL, ROOM_NONE },
    { "pubsub", NULL, ROOM_OFF },
    { "roles", NULL, ROOM_NONE },
    { "subject", NULL, ROOM_USED },
    { "subject_author", NULL, ROOM_USED },
    { "subscribers", NULL, ROOM_OFF },
    { "vcard", NULL, ROOM_OFF },
    { "vcard_xupdate", NULL, ROOM_NONE },
    { "voice_request_min_interval", NULL, ROOM_NONE },
    { NULL, NULL, ROOM_USED },
};

static bool is_off(const struct erlang_term *v)
{
    return erlang_is(v, "false") || erlang_is(v, "undefined") ||
           (v->type == ERLANG_TEXT ? v->text.len == 0 : v->first == NULL && v->type > ERLANG_TEXT);
}

/* Roles whose presence is shown. */
static bool ejabberd_roles_have(const void *roles, const char *role)
{
    const struct erlang_term *v = erlang_at(roles, 0);
    while (v != NULL && !erlang_is(v, role))
        v = v->next;
    return v != NULL;
}

static void put_option(struct room_writer *r, slice name, const struct erlang_term *v)
{
    bool count = slice_is(name, "max_users");
    bool given = count ? v->type == ERLANG_NUMBER || erlang_is(v, "none") : v->type == ERLANG_TEXT;
    if (slice_is(name, "presence_broadcast"))
        room_writer_roles(r, "presence_roles", ejabberd_roles_have, v);
    else
        room_writer_setting(
            r, room_options, name,
            &(struct room_value){ given ? v->text : (slice){ 0 }, given, !is_off(v) });
}

/* Newer versions have a list of {text, LANGUAGE, TEXT}. */
static slice subject_of(const struct erlang_term *options)
{
    const struct erlang_term *v = erlang_get(options, "subject");
    return v != NULL && v->type == ERLANG_LIST ? erlang_text(erlang_at(erlang_at(v, 0), 2))
                                               : erlang_text(v);
}

static void put_subject(struct room_writer *r, const struct erlang_term *options)
{
    const struct erlang_term *by = erlang_get(options, "subject_author");
    slice nick = erlang_text(by).len > 0 ? erlang_text(by) : erlang_text(erlang_at(by, 0));
    const char *from = arena_printf(r->tmp, "%.*s/%.*s", SLICE_ARG(r->jid), SLICE_ARG(nick));
    room_writer_subject(r, subject_of(options), slice_of(from), 0);
}

/* There, moderated rooms give everybody a voice who enters, unless members_by_default is off. Here
 * they never do. */
static void put_options(struct room_writer *r, const struct erlang_term *options)
{
    room_writer_truth(r, "moderated",
                      erlang_is(erlang_get(options, "moderated"), "true") &&
                          erlang_is(erlang_get(options, "members_by_default"), "false"));
    for (const struct erlang_term *t = erlang_at(options, 0); t != NULL; t = t->next) {
        slice name = erlang_word(erlang_at(t, 0));
        if (erlang_count(t) != 2)
            room_writer_lost(r, "of the configuration:", name);
        else
            put_option(r, name, erlang_at(t, 1));
    }
    put_subject(r, options);
}

/* Affiliations are in the option `affiliations`: [{{USER, HOST, ""}, {AFFILIATION, REASON}}], or
 * without reasons. */

static slice affiliation_of(const struct erlang_term *person)
{
    const struct erlang_term *a = erlang_at(person, 1);
    return erlang_word(erlang_count(a) > 0 ? erlang_at(a, 0) : a);
}

static void put_affiliated(struct room_writer *r, const struct erlang_term *options)
{
    slice jid;
    const struct erlang_term *p = erlang_at(erlang_get(options, "affiliations"), 0);
    for (; p != NULL; p = p->next) {
        slice who = ejabberd_jid(erlang_at(p, 0), r->tmp), affiliation = affiliation_of(p);
        slice reason = erlang_text(erlang_at(erlang_at(p, 1), 1));
        if (slice_is(affiliation, "none"))
            continue;
        if (room_writer_may(r, who, affiliation, &jid))
            room_writer_affiliation(r, jid, affiliation, (slice){ 0 }, reason);
        else
            room_writer_lost(r, "an affiliation of", who);
    }
}

static slice ejabberd_creator(struct room_writer *r, const struct erlang_term *options)
{
    slice jid;
    const struct erlang_term *p = erlang_at(erlang_get(options, "affiliations"), 0);
    for (; p != NULL; p = p->next)
        if (slice_is(affiliation_of(p), "owner") &&
            room_writer_may(r, ejabberd_jid(erlang_at(p, 0), r->tmp), SLICE("owner"), &jid))
            return jid;
    return (slice){ 0 };
}

static void take_room(void *arg, const struct erlang_term *row)
{
    struct ejabberd_room *r = arg;
    const struct erlang_term *options = erlang_at(row, 2);
    if (r->found) {
        r->problem = "the file has several rows of it";
        return;
    }
    r->found = true;
    if (options == NULL || options->type != ERLANG_LIST) {
        r->problem = "its row does not say how it is configured";
        return;
    }
    if (!erlang_is(erlang_get(options, "persistent"), "true")) {
        r->problem = "it is not persistent";
        return;
    }
    room_writer_config(&r->file, ejabberd_creator(&r->file, options));
    put_options(&r->file, options);
    put_affiliated(&r->file, options);
}

/* Its archive: {archive_msg, ROOM, ID, TIME, AUTHOR, BARE_AUTHOR, STANZA, NICK, TYPE}. */

/* The stanza is as its author sent it: the nickname is beside it. */
static void take_said(void *arg, const struct erlang_term *row)
{
    struct ejabberd_room *room = arg;
    struct room_writer *r = &room->file;
    struct buf content;
    struct arena *tmp = arena_create(0);
    const struct erlang_term *stanza = erlang_at(row, 6), *children = erlang_at(stanza, 3);
    slice nick = erlang_text(erlang_at(row, 7));
    buf_init(&content, ROOM_STANZA_MAX);
    if (slice_is(erlang_text(erlang_at(stanza, 1)), "message"))
        for (const struct erlang_term *c = erlang_at(children, 0); c != NULL; c = c->next)
            if (!ejabberd_is_added(c))
                ejabberd_element(room->r, &content, c, NULL, (slice){ 0 }, NULL);
    room_writer_said(
        r,
        &(struct room_said){
            .from = slice_of(arena_printf(tmp, "%.*s/%.*s", SLICE_ARG(r->jid), SLICE_ARG(nick))),
            .author = ejabberd_jid(erlang_at(row, 5), tmp),
            .id = ejabberd_attr(stanza, "id"),
            .lang = ejabberd_attr(stanza, "xml:lang"),
            .content = content.overflow ? (slice){ 0 } : buf_fit(&content),
            .at_us = ejabberd_time_us(erlang_at(row, 3)) },
        tmp);
    buf_fini(&content);
    arena_destroy(&tmp);
}

void ejabberd_room(struct ejabberd_reader *r, const struct ejabberd_owner *owner)
{
    struct ejabberd_room room = { .r = r };
    ensure((owner->tables & 1u << EJABBERD_ROOM) != 0);
    room.problem = room_writer_begin(&room.file, r->dump->output, owner->name, owner->host, r->tmp);
    if (room.problem == NULL)
        ejabberd_each(r, owner, EJABBERD_ROOM, take_room, &room);
    if (room.problem == NULL)
        ejabberd_each(r, owner, EJABBERD_ARCHIVED, take_said, &room);
    if (r->why.text[0] != '\0')
        room.problem = r->why.text;
    room_writer_end(&room.file, room.problem);
}
