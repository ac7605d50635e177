#include "convert/ejabberd_rows.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/map.h"
#include "base/mem.h"
#include "codec/xml_write.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

const char *const ejabberd_table_names[EJABBERD_TABLES] = {
    [EJABBERD_PASSWORD] = "passwd",      [EJABBERD_CONTACT] = "roster",
    [EJABBERD_VCARD] = "vcard",          [EJABBERD_PRIVATE] = "private_storage",
    [EJABBERD_PRIVACY] = "privacy",      [EJABBERD_OFFLINE] = "offline_msg",
    [EJABBERD_NODE] = "pubsub_node",     [EJABBERD_ITEM] = "pubsub_item",
    [EJABBERD_ARCHIVED] = "archive_msg", [EJABBERD_ROOM] = "muc_room",
    [EJABBERD_GROUP] = "sr_group",       [EJABBERD_MEMBER] = "sr_user",
};

/* Terms. */

slice ejabberd_jid(const struct erlang_term *t, struct arena *tmp)
{
    slice user = erlang_text(erlang_at(t, 0)), host = erlang_text(erlang_at(t, 1));
    slice resource = erlang_text(erlang_at(t, 2));
    return slice_of(arena_printf(tmp, "%.*s%s%.*s%s%.*s", SLICE_ARG(user), user.len > 0 ? "@" : "",
                                 SLICE_ARG(host), resource.len > 0 ? "/" : "",
                                 SLICE_ARG(resource)));
}

static bool number_at(const struct erlang_term *t, unsigned at, int64_t max, int64_t *out)
{
    const struct erlang_term *n = erlang_at(t, at);
    return n != NULL && n->type == ERLANG_NUMBER && slice_int(n->text, out) && *out >= 0 &&
           *out <= max;
}

uint64_t ejabberd_time_us(const struct erlang_term *t)
{
    enum { MILLION = 1000000, MEGASECONDS_MAX = 9999 };
    int64_t mega, seconds, micro;
    if (erlang_count(t) != 3 || !number_at(t, 0, MEGASECONDS_MAX, &mega) ||
        !number_at(t, 1, MILLION - 1, &seconds) || !number_at(t, 2, MILLION - 1, &micro))
        return 0;
    return ((uint64_t)mega * MILLION + (uint64_t)seconds) * MILLION + (uint64_t)micro;
}

static const struct erlang_term *ejabberd_attrs(const struct erlang_term *e)
{
    const struct erlang_term *list = erlang_at(e, 2);
    return list != NULL && list->type == ERLANG_LIST ? list->first : NULL;
}

slice ejabberd_attr(const struct erlang_term *e, const char *name)
{
    for (const struct erlang_term *a = ejabberd_attrs(e); a != NULL; a = a->next)
        if (slice_is(erlang_text(erlang_at(a, 0)), name))
            return erlang_text(erlang_at(a, 1));
    return (slice){ 0 };
}

void ejabberd_lost(const struct ejabberd_reader *r, const char *what)
{
    output_lost(r->dump->output, r->who, 1, "%s in the table %s", what,
                ejabberd_table_names[r->table]);
}

void ejabberd_element(const struct ejabberd_reader *r, struct buf *out, const struct erlang_term *e,
                      const char *ns, slice more, ejabberd_skip *skip)
{
    struct xml_write x;
    slice name = erlang_text(erlang_at(e, 1));
    bool known = erlang_is(erlang_at(e, 0), "xmlel") || erlang_is(erlang_at(e, 0), "xmlelement");
    if (!known || !is_xml_name(name)) {
        ejabberd_lost(r, "elements of an unknown form");
        return;
    }
    xml_write_to(&x, out);
    xml_open_sized(&x, name, ejabberd_attr(e, "xmlns").len == 0 ? slice_of(ns) : (slice){ 0 });
    for (const struct erlang_term *a = ejabberd_attrs(e); a != NULL; a = a->next) {
        const struct erlang_term *value = erlang_at(a, 1);
        if (is_xml_name(erlang_text(erlang_at(a, 0))) && value != NULL &&
            value->type == ERLANG_TEXT)
            xml_attr_sized(&x, erlang_text(erlang_at(a, 0)), value->text);
        else
            ejabberd_lost(r, "attributes of an unknown form");
    }
    for (const struct erlang_term *c = erlang_at(erlang_at(e, 3), 0); c != NULL; c = c->next) {
        const struct erlang_term *text = erlang_at(c, 1);
        if (erlang_is(erlang_at(c, 0), "xmlcdata") && text != NULL && text->type == ERLANG_TEXT)
            xml_text_clean(&x, text->text);
        else if (skip == NULL || !skip(c))
            ejabberd_element(r, xml_content(&x), c, NULL, (slice){ 0 }, NULL);
    }
    xml_raw(&x, more);
    xml_close(&x);
}

bool ejabberd_is_added(const struct erlang_term *child)
{
    return is_added(erlang_text(erlang_at(child, 1)), ejabberd_attr(child, "xmlns"));
}

/* Rows. */

static bool row_read(struct ejabberd_reader *r, const struct ejabberd_row *row, struct buf *text,
                     struct arena *tmp, struct erlang_term *out)
{
    struct why why;
    buf_clear(text);
    char *to = buf_reserve(text, row->bytes);
    ensure(to != NULL);
    for (size_t got = 0; got < row->bytes;) {
        ssize_t n = pread(r->dump->fd, to + got, row->bytes - got, (off_t)(row->at + got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            why_set(&r->why, "the file cannot be read: %s", n < 0 ? strerror(errno) : "it is cut");
            return false;
        }
        got += (size_t)n;
    }
    if (erlang_read(out, (slice){ to, row->bytes }, tmp, &why) == OK)
        return true;
    why_set(&r->why, "a row of %s: %s", ejabberd_table_names[row->table], why.text);
    return false;
}

static int archived_by_time(const void *one, const void *other)
{
    const struct ejabberd_row *a = *(struct ejabberd_row *const *)one;
    const struct ejabberd_row *b = *(struct ejabberd_row *const *)other;
    if (a->when_us != b->when_us)
        return a->when_us < b->when_us ? -1 : 1;
    return a->at < b->at ? -1 : a->at > b->at;
}

void ejabberd_each(struct ejabberd_reader *r, const struct ejabberd_owner *owner,
                   enum ejabberd_table table, ejabberd_fn *fn, void *arg)
{
    size_t count = 0, at = 0;
    struct erlang_term t;
    struct buf text;
    if (owner == NULL || (owner->tables & 1u << table) == 0)
        return;
    for (const struct ejabberd_row *row = owner->first; row != NULL; row = row->next)
        count += row->table == table;
    struct ejabberd_row **rows = mem_alloc(count * sizeof *rows);
    for (struct ejabberd_row *row = owner->first; row != NULL; row = row->next)
        if (row->table == table)
            rows[at++] = row;
    ensure(at == count && count > 0);
    if (table == EJABBERD_ARCHIVED) /* Mnesia keeps no order of them */
        qsort(rows, count, sizeof *rows, archived_by_time);
    struct arena *tmp = arena_create(0);
    buf_init(&text, EJABBERD_TERM_MAX);
    r->table = table;
    for (at = 0; at < count && row_read(r, rows[at], &text, tmp, &t); at++) {
        rows[at]->read = true;
        fn(arg, &t);
        arena_reset(tmp);
    }
    buf_fini(&text);
    arena_destroy(&tmp);
    mem_free(&rows);
}

const struct ejabberd_owner *ejabberd_owner(const struct ejabberd_reader *r, slice key)
{
    return map_get(&r->dump->owners, key);
}
