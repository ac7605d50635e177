#include "pubsub/pubsub_config.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "codec/xml_write.h"
#include "xmpp/ns.h"
#include <stddef.h>

#define NODE_CONFIG       NS_PUBSUB "#node_config"
#define SUBSCRIBE_OPTIONS NS_PUBSUB "#subscribe_options"

static const char *const access_names[] = { "open",      "presence",  "roster",
                                            "authorize", "whitelist", NULL };
static const char *const publish_names[] = { "publishers", "subscribers", "open", NULL };
static const char *const send_last_names[] = { "never", "on_sub", "on_sub_and_presence", NULL };
static const char *const reply_names[] = { "none", "owner", "publisher", NULL };
static const char *const notification_names[] = { "headline", "normal", "chat", NULL };

static const struct form_option access_options[] = { { "open", "Everybody" },
                                                     { "presence", "Those who see the presence" },
                                                     { "roster", "Members of roster groups" },
                                                     { "authorize", "Those an owner lets in" },
                                                     { "whitelist", "Members of the node" },
                                                     { 0 } };
/* Here the presence and the roster are those of the owners. */
static const struct form_option host_access_options[] = {
    { "open", "Everybody" },
    { "presence", "Those who see the presence of an owner" },
    { "roster", "Members of an owner's roster groups" },
    { "authorize", "Those an owner lets in" },
    { "whitelist", "Members of the node" },
    { 0 }
};
static const struct form_option publish_options[] = { { "publishers", "Owners and publishers" },
                                                      { "subscribers", "Subscribers, too" },
                                                      { "open", "Everybody" },
                                                      { 0 } };
static const struct form_option send_last_options[] = {
    { "never", "Never" },
    { "on_sub", "When somebody subscribes" },
    { "on_sub_and_presence", "When somebody subscribes or comes online" },
    { 0 }
};
static const struct form_option reply_options[] = { { "none", "To nobody" },
                                                    { "owner", "To the owners" },
                                                    { "publisher", "To the publisher" },
                                                    { 0 } };
static const struct form_option notification_options[] = {
    { "headline", "Headline" }, { "normal", "Normal" }, { "chat", "Chat" }, { 0 }
};

enum kind { K_BOOL, K_CHOICE, K_COUNT, K_TEXT, K_LIST };

struct field {
    enum kind kind;
    size_t at; /* in struct ps_config; of texts: the index */
    const char *const *names;
    struct form_row row;
};

#define AT(member) offsetof(struct ps_config, member)
#define BOOL(member, label)                                                                        \
    {                                                                                              \
        K_BOOL, AT(member), NULL,                                                                  \
        {                                                                                          \
            "pubsub#" #member, FORM_BOOLEAN, label, NULL, NULL, NULL, false                        \
        }                                                                                          \
    }
#define CHOICE(member, var, label, of)                                                             \
    {                                                                                              \
        K_CHOICE, AT(member), of##_names,                                                          \
        {                                                                                          \
            "pubsub#" var, FORM_LIST_SINGLE, label, NULL, of##_options, NULL, false                \
        }                                                                                          \
    }
#define TEXT(kind, at, type, var, label)                                                           \
    {                                                                                              \
        kind, at, NULL, { "pubsub#" var, type, label, NULL, NULL, NULL, false }                    \
    }

/* Where a field is, and how it is shown. */
static const struct field fields[] = {
    TEXT(K_TEXT, PS_TITLE, FORM_TEXT_SINGLE, "title", "Name of the node"),
    TEXT(K_TEXT, PS_DESCRIPTION, FORM_TEXT_SINGLE, "description", "Description of the node"),
    TEXT(K_TEXT, PS_TYPE, FORM_TEXT_SINGLE, "type", "Namespace of its payloads"),
    TEXT(K_TEXT, PS_LANGUAGE, FORM_LIST_SINGLE, "language", "Language of its items"),
    TEXT(K_LIST, PS_CONTACTS, FORM_JID_MULTI, "contact", "Addresses for questions about the node"),
    CHOICE(access, "access_model", "Who may subscribe and read", access),
    TEXT(K_LIST, PS_GROUPS, FORM_LIST_MULTI, "roster_groups_allowed",
         "Roster groups that may subscribe and read"),
    CHOICE(publish, "publish_model", "Who may publish", publish),
    BOOL(subscribe, "Whether subscriptions are allowed"),
    BOOL(persist_items, "Whether items are kept"),
    TEXT(K_COUNT, AT(max_items), FORM_TEXT_SINGLE, "max_items", "How many items are kept, or max"),
    TEXT(K_COUNT, AT(item_expire), FORM_TEXT_SINGLE, "item_expire",
         "Seconds after which items are deleted, or max"),
    TEXT(K_COUNT, AT(max_payload), FORM_TEXT_SINGLE, "max_payload_size",
         "The largest payload in bytes, or max"),
    BOOL(deliver_notifications, "Whether subscribers are notified"),
    BOOL(deliver_payloads, "Whether notifications contain the payload"),
    BOOL(notify_config, "Whether subscribers are told when this configuration changes"),
    BOOL(notify_delete, "Whether subscribers are told when the node is deleted"),
    BOOL(notify_retract, "Whether subscribers are told when items are removed"),
    BOOL(notify_sub, "Whether owners are told about subscriptions"),
    CHOICE(notification, "notification_type", "Type of the notifications", notification),
    CHOICE(send_last, "send_last_published_item", "When the last item is sent again", send_last),
    CHOICE(itemreply, "itemreply", "Recipient of replies to items", reply),
};
enum { FIELDS = sizeof fields / sizeof fields[0] };

static bool *pubsub_config_bool_at(const struct ps_config *c, const struct field *f)
{
    return (bool *)((uintptr_t)c + f->at);
}
static uint8_t *choice_at(const struct ps_config *c, const struct field *f)
{
    return (uint8_t *)((uintptr_t)c + f->at);
}
static uint32_t *pubsub_config_count_at(const struct ps_config *c, const struct field *f)
{
    return (uint32_t *)((uintptr_t)c + f->at);
}

/* XEP-0163 §6, and what is usual where that says nothing. */
void ps_config_default(struct ps_config *c, enum ps_kind kind)
{
    *c = (struct ps_config){
        .access = kind == PS_PEP ? PS_PRESENCE : PS_OPEN,
        .publish = PS_PUBLISHERS,
        .send_last = kind == PS_PEP ? PS_ON_SUB_AND_PRESENCE : PS_ON_SUB,
        .itemreply = PS_REPLY_NONE,
        .notification = PS_HEADLINE,
        .deliver_notifications = true,
        .deliver_payloads = true,
        .persist_items = true,
        .subscribe = true,
        .notify_retract = kind == PS_PEP,
        .notify_delete = true,
        .max_items = kind == PS_PEP ? 1 : PS_MAX,
        .item_expire = PS_MAX,
        .max_payload = PS_MAX,
    };
}

uint32_t ps_config_bytes(const struct ps_config *c)
{
    size_t len = 0;
    for (unsigned i = 0; i < PS_TEXTS; i++)
        len += c->text[i].len;
    return (uint32_t)len;
}

void ps_config_keep(struct ps_config *out, const struct ps_config *in)
{
    size_t len = ps_config_bytes(in);
    *out = *in;
    out->own = NULL;
    if (len == 0) {
        memset(out->text, 0, sizeof out->text);
        return;
    }
    char *at = out->own = mem_alloc(len);
    for (unsigned i = 0; i < PS_TEXTS; i++) {
        if (in->text[i].len > 0)
            memcpy(at, in->text[i].ptr, in->text[i].len);
        out->text[i].ptr = at;
        at += in->text[i].len;
    }
}

void ps_config_fini(struct ps_config *c)
{
    mem_free(&c->own);
    memset(c->text, 0, sizeof c->text);
}

/* Reading forms. */

/* A text is stored as a line, the entries of a list end with a tab. */
static slice pubsub_config_one_line(slice s, struct arena *tmp)
{
    if (s.len == 0 || (memchr(s.ptr, '\n', s.len) == NULL && memchr(s.ptr, '\t', s.len) == NULL))
        return s;
    slice copy = slice_dup(tmp, s);
    char *at = (char *)(uintptr_t)copy.ptr;
    for (size_t i = 0; i < copy.len; i++)
        if (at[i] == '\n' || at[i] == '\t')
            at[i] = ' ';
    return copy;
}

static void pubsub_config_take_text(struct ps_config *c, const struct field *fd, struct form *f)
{
    slice s;
    if (!form_text(f, fd->row.var, &s))
        return;
    if (s.len > PS_TEXT_MAX)
        form_wrong(f, SE_NOT_ACCEPTABLE, "%s has at most %d bytes", fd->row.var, PS_TEXT_MAX);
    else
        c->text[fd->at] = pubsub_config_one_line(s, f->tmp);
}

static void take_list(struct ps_config *c, const struct field *fd, struct form *f)
{
    const slice *value;
    unsigned count;
    struct buf b;
    bool there = fd->row.type == FORM_JID_MULTI ? form_jids(f, fd->row.var, &value, &count)
                                                : form_values(f, fd->row.var, &value, &count);
    if (!there)
        return;
    buf_init(&b, PS_LIST_MAX);
    for (unsigned i = 0; i < count; i++) {
        buf_add(&b, pubsub_config_one_line(value[i], f->tmp));
        buf_lit(&b, "\t");
    }
    if (b.overflow)
        form_wrong(f, SE_NOT_ACCEPTABLE, "%s has at most %d bytes", fd->row.var, PS_LIST_MAX);
    else
        c->text[fd->at] = slice_dup(f->tmp, buf_slice(&b));
    buf_fini(&b);
}

static int64_t count_limit(const struct field *fd, const struct ps_limits *limits)
{
    if (fd->at == AT(max_items))
        return limits->items;
    return fd->at == AT(max_payload) ? limits->payload : (int64_t)PS_MAX - 1;
}

static void pubsub_config_take_count(struct ps_config *c, const struct field *fd, struct form *f,
                                     const struct ps_limits *limits)
{
    const struct form_field *given = form_field(f, fd->row.var);
    int64_t n;
    if (given != NULL && given->value_count == 1 && slice_is(given->value[0], "max"))
        *pubsub_config_count_at(c, fd) = PS_MAX;
    else if (form_int(f, fd->row.var, fd->at == AT(item_expire) ? 0 : 1, count_limit(fd, limits),
                      &n))
        *pubsub_config_count_at(c, fd) = (uint32_t)n;
}

static void pubsub_config_take(struct ps_config *c, const struct field *fd, struct form *f,
                               const struct ps_limits *limits)
{
    unsigned choice;
    switch (fd->kind) {
    case K_BOOL:
        form_bool(f, fd->row.var, pubsub_config_bool_at(c, fd));
        break;
    case K_CHOICE:
        if (form_choice(f, fd->row.var, fd->names, &choice))
            *choice_at(c, fd) = (uint8_t)choice;
        break;
    case K_COUNT:
        pubsub_config_take_count(c, fd, f, limits);
        break;
    case K_TEXT:
        pubsub_config_take_text(c, fd, f);
        break;
    case K_LIST:
        take_list(c, fd, f);
        break;
    }
}

/* There are leaf nodes only (XEP-0248 is another protocol). */
static const struct form_option type_options[] = { { "leaf", "Leaf" }, { 0 } };
static const struct form_row type_row = { .var = "pubsub#node_type",
                                          .type = FORM_LIST_SINGLE,
                                          .label = "Type of the node",
                                          .options = type_options };

static void check_node_type(struct form *f)
{
    slice type;
    if (form_text(f, "pubsub#node_type", &type) && !slice_is(type, "leaf"))
        form_wrong(f, SE_FEATURE_NOT_IMPLEMENTED, "there are leaf nodes only");
}

bool ps_config_submit(struct ps_config *c, struct form *f, const struct ps_limits *limits)
{
    for (unsigned i = 0; i < FIELDS; i++)
        if (form_field(f, fields[i].row.var) != NULL)
            pubsub_config_take(c, &fields[i], f, limits);
    check_node_type(f);
    return f->error == SE_NONE;
}

static bool pubsub_config_same(const struct ps_config *a, const struct ps_config *b,
                               const struct field *fd)
{
    switch (fd->kind) {
    case K_BOOL:
        return *pubsub_config_bool_at(a, fd) == *pubsub_config_bool_at(b, fd);
    case K_CHOICE:
        return *choice_at(a, fd) == *choice_at(b, fd);
    case K_COUNT:
        return *pubsub_config_count_at(a, fd) == *pubsub_config_count_at(b, fd);
    default:
        return slice_eq(a->text[fd->at], b->text[fd->at]);
    }
}

static const struct field *pubsub_config_find(slice var)
{
    for (unsigned i = 0; i < FIELDS; i++)
        if (slice_is(var, fields[i].row.var))
            return &fields[i];
    return NULL;
}

bool ps_config_meets(const struct ps_config *c, struct form *f, const struct ps_limits *limits)
{
    struct ps_config wanted = *c;
    for (unsigned i = 0; i < f->field_count; i++) {
        slice var = f->field[i].var;
        const struct field *fd = pubsub_config_find(var);
        if (slice_is(var, "FORM_TYPE"))
            continue;
        if (slice_is(var, type_row.var)) {
            check_node_type(f);
            continue;
        }
        if (fd == NULL)
            return false;
        pubsub_config_take(&wanted, fd, f, limits);
        if (!pubsub_config_same(c, &wanted, fd))
            return false;
    }
    return f->error == SE_NONE;
}

/* Writing forms. */

static slice pubsub_config_count_text(uint32_t n, char buf[16])
{
    if (n == PS_MAX)
        return SLICE("max");
    size_t at = 16;
    do {
        buf[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    return (slice){ buf + at, 16 - at };
}

/* The one value of a field that is no list. */
static slice pubsub_config_value_of(const struct ps_config *c, const struct field *fd, char buf[16])
{
    switch (fd->kind) {
    case K_BOOL:
        return *pubsub_config_bool_at(c, fd) ? SLICE("1") : SLICE("0");
    case K_CHOICE:
        return slice_of(fd->names[*choice_at(c, fd)]);
    case K_COUNT:
        return pubsub_config_count_text(*pubsub_config_count_at(c, fd), buf);
    default:
        return c->text[fd->at];
    }
}

static void write_values(struct xml_write *x, slice list)
{
    slice entry;
    while (slice_cut(list, '\t', &entry, &list))
        form_value(x, entry);
}

static void pubsub_config_write_field(struct xml_write *x, const struct ps_config *c,
                                      const struct field *fd)
{
    char buf[16];
    if (fd->kind != K_LIST) {
        form_put(x, fd->row.var, pubsub_config_value_of(c, fd, buf));
    } else {
        form_put_open(x, fd->row.var, fd->row.type);
        write_values(x, c->text[fd->at]);
        form_field_close(x);
    }
}

void ps_config_write(struct xml_write *x, const struct ps_config *c)
{
    form_open(x, FORM_RESULT, NODE_CONFIG);
    form_put(x, type_row.var, SLICE("leaf"));
    for (unsigned i = 0; i < FIELDS; i++)
        pubsub_config_write_field(x, c, &fields[i]);
    form_close(x);
}

/* A list that users extend by values of their own (XEP-0122 §3.2.3). */
#define OPEN_LIST                                                                                  \
    "<validate xmlns='http://jabber.org/protocol/xdata-validate' datatype='xs:string'>"            \
    "<open/></validate>"

static void pubsub_config_ask_field(struct xml_write *x, const struct ps_config *c,
                                    const struct field *fd, enum ps_kind kind)
{
    char buf[16];
    struct form_row row = fd->row;
    if (kind == PS_HOST && row.options == access_options)
        row.options = host_access_options;
    bool is_list = row.type == FORM_LIST_SINGLE || row.type == FORM_LIST_MULTI;
    if (is_list && row.options == NULL)
        row.extra = OPEN_LIST;
    if (fd->kind != K_LIST) {
        form_ask_value(x, &row, pubsub_config_value_of(c, fd, buf));
    } else {
        form_ask_open(x, &row);
        write_values(x, c->text[fd->at]);
        form_field_close(x);
    }
}

void ps_config_ask(struct xml_write *x, const struct ps_config *c, enum ps_kind kind)
{
    form_open(x, FORM_FORM, NODE_CONFIG);
    form_ask_value(x, &type_row, SLICE("leaf"));
    for (unsigned i = 0; i < FIELDS; i++)
        pubsub_config_ask_field(x, c, &fields[i], kind);
    form_close(x);
}

void ps_config_write_meta(struct xml_write *x, const struct ps_config *c)
{
    static const char *const shown[] = { "pubsub#title",         "pubsub#description",
                                         "pubsub#type",          "pubsub#language",
                                         "pubsub#contact",       "pubsub#access_model",
                                         "pubsub#publish_model", "pubsub#max_items" };
    form_put(x, type_row.var, SLICE("leaf"));
    for (unsigned i = 0; i < sizeof shown / sizeof shown[0]; i++) {
        const struct field *fd = pubsub_config_find(slice_of(shown[i]));
        if ((fd->kind != K_TEXT && fd->kind != K_LIST) || c->text[fd->at].len > 0)
            pubsub_config_write_field(x, c, fd);
    }
}

/* Stored text: "access_model=open\n". */

static slice pubsub_config_name_of(const struct field *fd)
{
    return slice_from(slice_of(fd->row.var), sizeof "pubsub#" - 1);
}

static void store_line(struct buf *out, const struct field *fd, slice value)
{
    buf_add(out, pubsub_config_name_of(fd));
    buf_lit(out, "=");
    buf_add(out, value);
    buf_lit(out, "\n");
}

void ps_config_store(struct buf *out, const struct ps_config *c, enum ps_kind kind)
{
    struct ps_config def;
    char buf[16];
    ps_config_default(&def, kind);
    for (unsigned i = 0; i < FIELDS; i++) {
        const struct field *fd = &fields[i];
        if (!pubsub_config_same(c, &def, fd))
            store_line(out, fd, pubsub_config_value_of(c, fd, buf));
    }
}

static void load_choice(struct ps_config *c, const struct field *fd, slice value)
{
    for (unsigned i = 0; fd->names[i] != NULL; i++)
        if (slice_is(value, fd->names[i]))
            *choice_at(c, fd) = (uint8_t)i;
}

static void load_line(struct ps_config *c, const struct field *fd, slice value)
{
    int64_t n;
    switch (fd->kind) {
    case K_BOOL:
        *pubsub_config_bool_at(c, fd) = slice_is(value, "1");
        break;
    case K_CHOICE:
        load_choice(c, fd, value);
        break;
    case K_COUNT:
        if (slice_is(value, "max"))
            *pubsub_config_count_at(c, fd) = PS_MAX;
        else if (slice_int(value, &n) && n >= 0 && n < PS_MAX)
            *pubsub_config_count_at(c, fd) = (uint32_t)n;
        break;
    case K_TEXT:
    case K_LIST:
        c->text[fd->at] = value;
        break;
    }
}

void ps_config_load(struct ps_config *c, enum ps_kind kind, slice text)
{
    slice line, name, value;
    ps_config_default(c, kind);
    while (slice_cut(text, '\n', &line, &text)) {
        if (!slice_cut(line, '=', &name, &value))
            continue;
        for (unsigned i = 0; i < FIELDS; i++)
            if (slice_eq(name, pubsub_config_name_of(&fields[i])))
                load_line(c, &fields[i], value);
    }
}

bool ps_list_has(slice list, slice entry)
{
    slice e;
    while (slice_cut(list, '\t', &e, &list))
        if (slice_eq(e, entry))
            return true;
    return false;
}

const char *ps_access_name(enum ps_access_model m) { return access_names[m]; }

/* Options of a subscription. */

static const struct form_row deliver_row = { .var = "pubsub#deliver",
                                             .type = FORM_BOOLEAN,
                                             .label = "Whether to be notified" };

bool ps_options_submit(bool *deliver, struct form *f)
{
    if (form_expect(f, SUBSCRIBE_OPTIONS))
        form_bool(f, "pubsub#deliver", deliver);
    return f->error == SE_NONE;
}

void ps_options_write(struct xml_write *x, bool deliver)
{
    form_open(x, FORM_FORM, SUBSCRIBE_OPTIONS);
    form_ask_value(x, &deliver_row, deliver ? SLICE("1") : SLICE("0"));
    form_close(x);
}
