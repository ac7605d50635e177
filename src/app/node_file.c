#include "app/node_file.h"
#include "app/node_found.h"
#include "app/node_keys.h"
#include "app/node_pairs.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/host_port.h"
#include "base/similar.h"
#include "home/node.h"
#include "xmpp/jid.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>
#include <yaml.h>

enum {
    FILE_BYTES_MAX = NODE_FILE_BYTES_MAX,
    /* No value is longer: a scalar is in the file, and domains are what their preparation makes. */
    SHOWN_BYTES_MAX = FILE_BYTES_MAX + NODE_DOMAINS_MAX * (JID_PART_MAX + 2),
    SECTION_KEYS_MAX = 32,
    ERRORS_MAX = 50,
    TEXT_BYTES_MAX = 1024,
    DOMAIN_BYTES_MAX = 255
};

struct loader {
    struct node_file *file;
    yaml_document_t *doc;
    struct buf *errors;
    unsigned error_count;
    size_t seen_line[NODE_FILE_KEYS_MAX]; /* 0: not in the file */
    size_t *setting_line;                 /* of each of file->settings */
    struct buf shown;                     /* of the key being read */
};

static void __attribute__((format(printf, 3, 4)))
node_file_wrong(struct loader *l, size_t line, const char *fmt, ...)
{
    if (++l->error_count > ERRORS_MAX)
        return;
    va_list ap;
    va_start(ap, fmt);
    const char *text = arena_vprintf(l->file->arena, fmt, ap);
    va_end(ap);
    buf_printf(l->errors, "%s:%zu: %s\n", l->file->path, line, text);
    if (l->error_count == ERRORS_MAX)
        buf_printf(l->errors, "%s: more mistakes are not shown\n", l->file->path);
}

static size_t node_file_line_of(const yaml_node_t *n) { return n->start_mark.line + 1; }

static slice scalar(const yaml_node_t *n)
{
    return (slice){ (const char *)n->data.scalar.value, n->data.scalar.length };
}

static bool is_null(const yaml_node_t *n)
{
    return n->type == YAML_SCALAR_NODE && n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (n->data.scalar.length == 0 || slice_is(scalar(n), "~") || slice_is(scalar(n), "null"));
}

static const char *found_node(struct arena *arena, const yaml_node_t *n)
{
    if (n->type == YAML_SEQUENCE_NODE)
        return "a list";
    if (n->type == YAML_MAPPING_NODE)
        return "a section";
    return is_null(n) ? "nothing" : node_found(arena, scalar(n));
}

static void wrong_value(struct loader *l, const struct node_key *k, size_t line, const char *found)
{
    node_file_wrong(l, line, "key '%s': found %s, allowed %s", k->name, found,
                    node_key_allowed(l->file->arena, k));
}

static void wrong_node(struct loader *l, const struct node_key *k, const yaml_node_t *n)
{
    wrong_value(l, k, node_file_line_of(n), found_node(l->file->arena, n));
}

/* A scalar as it may be used in C strings: bounded and without control characters. */
static bool plain_text(const yaml_node_t *n, slice *out)
{
    if (n->type != YAML_SCALAR_NODE || is_null(n) || n->data.scalar.length > TEXT_BYTES_MAX)
        return false;
    *out = scalar(n);
    for (size_t i = 0; i < out->len; i++) {
        if ((unsigned char)out->ptr[i] < ' ' || out->ptr[i] == 0x7f)
            return false;
    }
    return true;
}

static bool parse_name(struct arena *arena, const struct node_key *k, slice text, const char **out)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!fine && c != '-')
            return false;
    }
    *out = slice_cstr(arena, text);
    return (int64_t)text.len >= k->min && (int64_t)text.len <= k->max;
}

static bool node_file_parse_int(const struct node_key *k, slice text, int64_t *out)
{
    return slice_int(text, out) && *out >= k->min && *out <= k->max;
}

static bool node_file_parse_choice(const char *const *choices, slice text, int64_t *out)
{
    for (int64_t i = 0; choices[i] != NULL; i++) {
        if (slice_is(text, choices[i])) {
            *out = i;
            return true;
        }
    }
    return false;
}

static bool node_file_parse_path(const struct node_file *f, slice text, const char **out)
{
    if (text.len == 0)
        return false;
    const char *slash = strrchr(f->path, '/');
    int folder_len = slash == NULL ? 0 : (int)(slash - f->path) + 1;
    *out = text.ptr[0] == '/'
               ? slice_cstr(f->arena, text)
               : arena_printf(f->arena, "%.*s%.*s", folder_len, f->path, SLICE_ARG(text));
    return true;
}

static bool parse_domain(struct arena *arena, slice text, const char **out)
{
    slice domain;
    if (jid_prep_domain(text, arena, &domain) != OK || domain.len > DOMAIN_BYTES_MAX)
        return false;
    *out = slice_cstr(arena, domain);
    return true;
}

/* "127.0.0.1:5222" or "[::1]:5222". With port 0 the system chooses one. */
static bool parse_address(struct arena *arena, slice text, const char **out)
{
    static const slice chosen = SLICE_INIT(":0");
    slice host, at = text;
    uint16_t port = 0;
    bool any = text.len > chosen.len && slice_eq(slice_from(text, text.len - chosen.len), chosen);
    if (any)
        at.len -= chosen.len;
    if (!host_port_read(at, &host, &port) || host_port_is_name(host) || any != (port == 0))
        return false;
    *out = slice_cstr(arena, text);
    return true;
}

static bool parse_scalar(struct loader *l, const struct node_key *k, slice text)
{
    void *field = (char *)l->file + k->offset;
    switch (k->type) {
    case KEY_NAME:
        return parse_name(l->file->arena, k, text, field);
    case KEY_WORKERS:
        if (slice_is(text, "auto")) {
            *(int64_t *)field = NODE_WORKERS_AUTO;
            return true;
        }
        return node_file_parse_int(k, text, field);
    case KEY_INT:
        return node_file_parse_int(k, text, field);
    case KEY_CHOICE:
        return node_file_parse_choice(k->choices, text, field);
    case KEY_PATH:
        return node_file_parse_path(l->file, text, field);
    case KEY_DATABASE:
        *(const char **)field = slice_cstr(l->file->arena, text);
        return slice_is(text, "sqlite") || slice_starts(text, SLICE("postgresql://"));
    case KEY_DOMAINS:
    case KEY_LISTEN:
    case KEY_CERTS:
    case KEY_SETTINGS:
        break;
    }
    return false;
}

static void read_scalar(struct loader *l, const struct node_key *k, const yaml_node_t *n)
{
    slice text;
    if (!plain_text(n, &text) || !parse_scalar(l, k, text))
        wrong_node(l, k, n);
    else
        buf_add(&l->shown, text);
}

static const yaml_node_t *list_item(struct loader *l, const yaml_node_t *list, size_t i)
{
    return yaml_document_get_node(l->doc, list->data.sequence.items.start[i]);
}

/* The number of items, or -1 after a message. */
static ptrdiff_t list_count(struct loader *l, const struct node_key *k, const yaml_node_t *n)
{
    if (n->type != YAML_SEQUENCE_NODE) {
        wrong_node(l, k, n);
        return -1;
    }
    ptrdiff_t count = n->data.sequence.items.top - n->data.sequence.items.start;
    if (count < k->min || count > k->max) {
        wrong_value(l, k, node_file_line_of(n),
                    arena_printf(l->file->arena, "a list of %td", count));
        return -1;
    }
    return count;
}

static bool domain_known(const struct node_domains *domains, const char *name)
{
    for (size_t i = 0; i < domains->count; i++) {
        if (strcmp(domains->name[i], name) == 0)
            return true;
    }
    return false;
}

static void read_domains(struct loader *l, const struct node_key *k, const yaml_node_t *n)
{
    ptrdiff_t count = list_count(l, k, n);
    if (count < 0)
        return;
    const char **names = arena_new(l->file->arena, const char *, (size_t)count);
    struct node_domains *out = &l->file->domains;
    out->name = names;
    for (size_t i = 0; i < (size_t)count; i++) {
        const yaml_node_t *item = list_item(l, n, i);
        slice text;
        const char *name;
        if (!plain_text(item, &text) || !parse_domain(l->file->arena, text, &name) ||
            domain_known(out, name)) {
            wrong_node(l, k, item);
            continue;
        }
        names[out->count++] = name;
        buf_printf(&l->shown, "%s%s", out->count > 1 ? ", " : "", name);
    }
}

static const yaml_node_t *pair_key(struct loader *l, const yaml_node_t *map, size_t i)
{
    return yaml_document_get_node(l->doc, map->data.mapping.pairs.start[i].key);
}
static const yaml_node_t *pair_value(struct loader *l, const yaml_node_t *map, size_t i)
{
    return yaml_document_get_node(l->doc, map->data.mapping.pairs.start[i].value);
}
static size_t pair_count(const yaml_node_t *map)
{
    return (size_t)(map->data.mapping.pairs.top - map->data.mapping.pairs.start);
}

/* The key of pair i as text; false after a message: not a text, or there before. `in` is the name
 * of the section, "" at the top. */
static bool pair_name(struct loader *l, const yaml_node_t *map, size_t i, const char *in,
                      slice *out)
{
    const char *dot = *in != '\0' ? "." : "";
    const yaml_node_t *key = pair_key(l, map, i);
    if (!plain_text(key, out)) {
        node_file_wrong(l, node_file_line_of(key),
                        "key '%s%s%s': found as a key, allowed a plain name", in, dot,
                        found_node(l->file->arena, key));
        return false;
    }
    for (size_t j = 0; j < i; j++) {
        const yaml_node_t *earlier = pair_key(l, map, j);
        if (earlier->type == YAML_SCALAR_NODE && slice_eq(scalar(earlier), *out)) {
            node_file_wrong(l, node_file_line_of(key),
                            "key '%s%s%.*s': found twice, first in line %zu; allowed once", in, dot,
                            SLICE_ARG(*out), node_file_line_of(earlier));
            return false;
        }
    }
    return true;
}

/* A section inside a list or below a domain: `path` names it in messages. */
enum inner_type { INNER_ADDRESS, INNER_PATH, INNER_SWITCH };
struct inner_key {
    const char *name;
    enum inner_type type;
    size_t offset;
    bool required;
};

static const struct inner_key listen_keys[] = {
    { "address", INNER_ADDRESS, offsetof(struct node_listen, address), true },
    { "proxy", INNER_SWITCH, offsetof(struct node_listen, proxy), false },
    { 0 },
};
static const struct inner_key cert_keys[] = {
    { "certificate", INNER_PATH, offsetof(struct node_cert, certificate), true },
    { "key", INNER_PATH, offsetof(struct node_cert, key), true },
    { 0 },
};

static const char *const false_true[] = { "false", "true", NULL };

static const char *inner_allowed(const struct inner_key *k)
{
    static const char *const texts[] = {
        [INNER_ADDRESS] = "\"IP:PORT\"", [INNER_PATH] = "a path", [INNER_SWITCH] = "true or false"
    };
    return texts[k->type];
}

static bool inner_parse(struct loader *l, const struct inner_key *k, const yaml_node_t *n,
                        void *field)
{
    slice text;
    if (!plain_text(n, &text))
        return false;
    switch (k->type) {
    case INNER_ADDRESS:
        return parse_address(l->file->arena, text, field);
    case INNER_PATH:
        return node_file_parse_path(l->file, text, field);
    case INNER_SWITCH:
        return node_file_parse_choice(false_true, text, field);
    }
    return false;
}

/* Index of the name in `rows`, or of their end. */
static size_t inner_find(const struct inner_key *rows, slice name)
{
    size_t i = 0;
    while (rows[i].name != NULL && !slice_is(name, rows[i].name))
        i++;
    return i;
}

static void read_inner(struct loader *l, const char *path, const yaml_node_t *n,
                       const struct inner_key *rows, void *out)
{
    unsigned seen = 0;
    for (size_t i = 0; i < pair_count(n) && i < SECTION_KEYS_MAX; i++) {
        slice name;
        if (!pair_name(l, n, i, path, &name))
            continue;
        const yaml_node_t *value = pair_value(l, n, i);
        size_t at = inner_find(rows, name);
        seen |= 1U << at;
        if (rows[at].name == NULL)
            node_file_wrong(l, node_file_line_of(pair_key(l, n, i)),
                            "key '%s.%.*s': found an unknown key, allowed %s, %s", path,
                            SLICE_ARG(name), rows[0].name, rows[1].name);
        else if (!inner_parse(l, &rows[at], value, (char *)out + rows[at].offset))
            node_file_wrong(l, node_file_line_of(value), "key '%s.%s': found %s, allowed %s", path,
                            rows[at].name, found_node(l->file->arena, value),
                            inner_allowed(&rows[at]));
    }
    for (size_t at = 0; rows[at].name != NULL; at++) {
        if (rows[at].required && (seen & 1U << at) == 0)
            node_file_wrong(l, node_file_line_of(n), "key '%s.%s': found nothing, allowed %s", path,
                            rows[at].name, inner_allowed(&rows[at]));
    }
}

static void read_listen(struct loader *l, const struct node_key *k, const yaml_node_t *n)
{
    ptrdiff_t count = list_count(l, k, n);
    if (count < 0)
        return;
    struct node_listen *items = arena_new(l->file->arena, struct node_listen, (size_t)count);
    for (size_t i = 0; i < (size_t)count; i++) {
        const yaml_node_t *item = list_item(l, n, i);
        slice text;
        if (item->type == YAML_MAPPING_NODE)
            read_inner(l, k->name, item, listen_keys, &items[i]);
        else if (!plain_text(item, &text) ||
                 !parse_address(l->file->arena, text, &items[i].address))
            wrong_node(l, k, item);
        if (items[i].address != NULL)
            buf_printf(&l->shown, "%s%s%s", i > 0 ? ", " : "", items[i].address,
                       items[i].proxy ? " (proxy)" : "");
    }
    *(struct node_listen_list *)(void *)((char *)l->file + k->offset) =
        (struct node_listen_list){ items, (size_t)count };
}

static bool is_map(struct loader *l, const struct node_key *k, const yaml_node_t *n)
{
    if (is_null(n))
        return false;
    if (n->type == YAML_MAPPING_NODE && pair_count(n) <= (size_t)k->max)
        return true;
    wrong_node(l, k, n);
    return false;
}

static void read_certs(struct loader *l, const struct node_key *k, const yaml_node_t *n)
{
    if (!is_map(l, k, n))
        return;
    struct node_cert *certs = arena_new(l->file->arena, struct node_cert, pair_count(n));
    size_t count = 0;
    for (size_t i = 0; i < pair_count(n); i++) {
        slice name;
        if (!pair_name(l, n, i, k->name, &name))
            continue;
        const yaml_node_t *value = pair_value(l, n, i);
        const char *path = arena_printf(l->file->arena, "%s.%.*s", k->name, SLICE_ARG(name));
        struct node_cert *cert = &certs[count];
        cert->line = node_file_line_of(pair_key(l, n, i));
        if (!parse_domain(l->file->arena, name, &cert->domain)) {
            wrong_value(l, k, cert->line, node_found(l->file->arena, name));
        } else if (value->type != YAML_MAPPING_NODE) {
            node_file_wrong(l, cert->line,
                            "key '%s': found %s, allowed {certificate: PATH, key: PATH}", path,
                            found_node(l->file->arena, value));
        } else {
            read_inner(l, path, value, cert_keys, cert);
            count++;
        }
    }
    l->file->certs = (struct node_certs){ certs, count };
}

static void read_setting(struct loader *l, slice name, const yaml_node_t *key,
                         const yaml_node_t *value, struct setting_fixed *out)
{
    struct why why;
    char range[256];
    const char *domain;
    slice general;
    bool all = !slice_cut(slice_dup(l->file->arena, name), '@', &general, &out->domain);
    if (all)
        out->domain = (slice){ 0 };
    else if (parse_domain(l->file->arena, out->domain, &domain))
        out->domain = slice_of(domain);
    out->setting = setting_find(general);
    if (out->setting != NULL && !all && out->setting->scope != SCOPE_DOMAIN) {
        node_file_wrong(l, node_file_line_of(key),
                        "key 'settings.%.*s': this setting has one value for all domains",
                        SLICE_ARG(name));
        return;
    }
    if (out->setting == NULL) {
        struct similar similar;
        similar_init(&similar, general);
        for (const struct setting *s = setting_first(); s != NULL; s = s->next)
            if (s->general == NULL)
                similar_try(&similar, slice_of(s->name));
        node_file_wrong(l, node_file_line_of(key),
                        "key 'settings.%.*s': found an unknown setting, allowed those that "
                        "`musterctl config show` lists%s",
                        SLICE_ARG(name), similar_text(&similar).text);
        return;
    }
    bool text = value->type == YAML_SCALAR_NODE;
    if (text)
        out->value = slice_dup(l->file->arena, scalar(value));
    if (text && setting_check(out->setting, out->value, &why) == OK)
        return;
    setting_range(out->setting, range, sizeof range);
    if (text && !is_null(value)) /* in the words of `musterctl set`, behind the name */
        node_file_wrong(l, node_file_line_of(value), "key 'settings.%.*s'%s", SLICE_ARG(name),
                        why.text + general.len);
    else
        node_file_wrong(l, node_file_line_of(value), "key 'settings.%.*s': found %s, allowed %s",
                        SLICE_ARG(name), found_node(l->file->arena, value), range);
}

static void read_settings(struct loader *l, const struct node_key *k, const yaml_node_t *n)
{
    if (!is_map(l, k, n))
        return;
    struct setting_fixed *items = arena_new(l->file->arena, struct setting_fixed, pair_count(n));
    size_t count = 0;
    l->setting_line = arena_new(l->file->arena, size_t, pair_count(n));
    for (size_t i = 0; i < pair_count(n); i++) {
        slice name;
        const yaml_node_t *key = pair_key(l, n, i);
        if (!pair_name(l, n, i, k->name, &name))
            continue;
        l->setting_line[count] = node_file_line_of(key);
        read_setting(l, name, key, pair_value(l, n, i), &items[count++]);
    }
    l->file->settings = (struct node_settings){ items, count };
}

static void read_key(struct loader *l, const struct node_key *k, const yaml_node_t *n)
{
    l->seen_line[k - node_keys] = node_file_line_of(n);
    buf_clear(&l->shown);
    switch (k->type) {
    case KEY_NAME:
    case KEY_INT:
    case KEY_WORKERS:
    case KEY_CHOICE:
    case KEY_PATH:
    case KEY_DATABASE:
        read_scalar(l, k, n);
        break;
    case KEY_DOMAINS:
        read_domains(l, k, n);
        break;
    case KEY_LISTEN:
        read_listen(l, k, n);
        break;
    case KEY_CERTS:
        read_certs(l, k, n);
        break;
    case KEY_SETTINGS:
        read_settings(l, k, n);
        break;
    }
    l->file->shown[k - node_keys] = slice_cstr(l->file->arena, buf_fit(&l->shown));
}

/* A key of another section may have been meant, and at the top a section. */
static void unknown_key(struct loader *l, const char *section, slice full, size_t line)
{
    struct similar similar;
    slice top, rest;
    similar_init(&similar, full);
    for (size_t i = 0; node_keys[i].name != NULL; i++) {
        similar_try(&similar, slice_of(node_keys[i].name));
        if (*section == '\0' && slice_cut(slice_of(node_keys[i].name), '.', &top, &rest))
            similar_try(&similar, top);
    }
    node_file_wrong(l, line, "key '%.*s': found an unknown key, allowed %s%s", SLICE_ARG(full),
                    node_keys_below(l->file->arena, section), similar_text(&similar).text);
}

/* Recursion is bounded by the dots in the names of `node_keys`. */
static void read_section(struct loader *l, const char *section, const yaml_node_t *n)
{
    struct arena *arena = l->file->arena;
    if (is_null(n))
        return;
    if (n->type != YAML_MAPPING_NODE || pair_count(n) > SECTION_KEYS_MAX) {
        node_file_wrong(l, node_file_line_of(n),
                        "key '%s': found %s, allowed a section with the keys %s", section,
                        found_node(arena, n), node_keys_below(arena, section));
        return;
    }
    for (size_t i = 0; i < pair_count(n); i++) {
        slice name;
        if (!pair_name(l, n, i, section, &name))
            continue;
        const char *full =
            arena_printf(arena, "%s%s%.*s", section, *section == '\0' ? "" : ".", SLICE_ARG(name));
        const struct node_key *k = node_key_find(slice_of(full));
        if (k != NULL)
            read_key(l, k, pair_value(l, n, i));
        else if (*full != '\0' && node_keys_below(arena, full) != NULL)
            read_section(l, full, pair_value(l, n, i));
        else
            unknown_key(l, section, slice_of(full), node_file_line_of(pair_key(l, n, i)));
    }
}

static void node_file_read_default(struct loader *l, const struct node_key *k)
{
    if (k->type == KEY_LISTEN) {
        struct node_listen *item = arena_new(l->file->arena, struct node_listen, 1);
        item->address = k->def;
        *(struct node_listen_list *)(void *)((char *)l->file + k->offset) =
            (struct node_listen_list){ item, 1 };
    } else if (!parse_scalar(l, k, slice_of(k->def))) {
        node_file_wrong(l, 1, "key '%s': the default \"%s\" is not allowed", k->name, k->def);
    }
    l->file->shown[k - node_keys] = k->def;
}

static const struct node_listen_list *listens_at(const struct loader *l, const struct node_key *k)
{
    return (const struct node_listen_list *)(const void *)((const char *)l->file + k->offset);
}

/* The listeners that have a default are for one kind of peers: addresses of one of them in the file
 * say where those are wanted. */
static bool is_listened_elsewhere(const struct loader *l, const struct node_key *k)
{
    for (size_t i = 0; k->type == KEY_LISTEN && node_keys[i].name != NULL; i++)
        if (node_keys[i].type == KEY_LISTEN && *node_keys[i].def != '\0' && l->seen_line[i] > 0 &&
            listens_at(l, &node_keys[i])->count > 0)
            return true;
    return false;
}

/* What only the whole file shows: missing keys, and keys that need each other. */
static void node_file_check_whole(struct loader *l)
{
    const struct node_file *f = l->file;
    for (size_t i = 0; node_keys[i].name != NULL; i++) {
        if (l->seen_line[i] > 0)
            continue;
        if (node_keys[i].def == NULL)
            wrong_value(l, &node_keys[i], 1, "nothing");
        else if (*node_keys[i].def != '\0' && !is_listened_elsewhere(l, &node_keys[i]))
            node_file_read_default(l, &node_keys[i]);
    }
    const struct node_key *cert = node_key_find(SLICE("tls.certificate"));
    const struct node_key *key = node_key_find(SLICE("tls.key"));
    size_t cert_line = l->seen_line[cert - node_keys], key_line = l->seen_line[key - node_keys];
    if ((cert_line > 0) != (key_line > 0))
        node_file_wrong(
            l, cert_line + key_line,
            "key '%s': found nothing, allowed both tls.certificate and tls.key, or neither",
            cert_line > 0 ? key->name : cert->name);
    for (size_t i = 0; i < f->certs.count; i++) {
        if (!domain_known(&f->domains, f->certs.item[i].domain))
            node_file_wrong(l, f->certs.item[i].line,
                            "key 'tls.domains': found \"%s\", allowed names of `domains`",
                            f->certs.item[i].domain);
    }
    for (size_t i = 0; i < f->settings.count; i++) {
        slice domain = f->settings.item[i].domain;
        if (domain.ptr != NULL && !domain_known(&f->domains, slice_cstr(f->arena, domain)))
            node_file_wrong(l, l->setting_line[i],
                            "key 'settings': found \"%.*s\" behind @, allowed names of `domains`",
                            SLICE_ARG(domain));
        const char *wrong = node_setting_twice(&f->settings, i, f->arena);
        if (wrong == NULL)
            wrong = node_pair_wrong(&f->settings, i, f->arena);
        if (wrong == NULL)
            wrong = node_account_wrong(f, i);
        if (wrong != NULL)
            node_file_wrong(l, l->setting_line[i], "key 'settings.%s", wrong);
    }
}

/* The next document of the text; false after a message. */
static bool load_document(struct loader *l, yaml_parser_t *parser, yaml_document_t *doc)
{
    if (yaml_parser_load(parser, doc) != 0)
        return true;
    node_file_wrong(l, parser->problem_mark.line + 1, "found malformed YAML: %s",
                    parser->problem != NULL ? parser->problem : "out of memory");
    return false;
}

static void read_document(struct loader *l, yaml_parser_t *parser)
{
    yaml_document_t doc, second;
    if (!load_document(l, parser, &doc))
        return;
    l->doc = &doc;
    const yaml_node_t *root = yaml_document_get_root_node(&doc);
    if (root != NULL)
        read_section(l, "", root);
    if (root != NULL && load_document(l, parser, &second)) {
        const yaml_node_t *more = yaml_document_get_root_node(&second);
        if (more != NULL)
            node_file_wrong(l, node_file_line_of(more), "found a second document, allowed one");
        yaml_document_delete(&second);
    }
    node_file_check_whole(l);
    yaml_document_delete(&doc);
}

/* The file as far as it is right; the number of mistakes. */
static unsigned read_text(struct node_file *file, slice text, struct buf *errors)
{
    struct loader l = { .file = file, .errors = errors };
    yaml_parser_t parser;
    buf_init(&l.shown, SHOWN_BYTES_MAX);
    if (yaml_parser_initialize(&parser) != 0) {
        yaml_parser_set_input_string(&parser, (const unsigned char *)text.ptr, text.len);
        yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
        read_document(&l, &parser);
        yaml_parser_delete(&parser);
    } else {
        node_file_wrong(&l, 1, "cannot be read: out of memory");
    }
    buf_fini(&l.shown);
    return l.error_count;
}

static struct node_file *file_create(const char *path)
{
    struct arena *arena = arena_create(0);
    struct node_file *f = arena_new(arena, struct node_file, 1);
    f->arena = arena;
    f->path = slice_cstr(arena, slice_of(path));
    return f;
}

void node_file_free(struct node_file **file)
{
    struct arena *arena = *file != NULL ? (*file)->arena : NULL;
    *file = NULL;
    arena_destroy(&arena);
}

enum err node_file_parse(struct node_file **out, const char *path, slice text, struct buf *errors)
{
    *out = file_create(path);
    if (read_text(*out, text, errors) == 0)
        return OK;
    node_file_free(out);
    return E_SYNTAX;
}

static const char *own_path = "";

enum err node_file_read(const char *path, struct buf *text, struct why *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t got = fd < 0 ? -1 : 1;
    while (got > 0 && text->len <= FILE_BYTES_MAX) {
        char *room = buf_reserve(text, FILE_BYTES_MAX + 1 - text->len);
        got = read(fd, room, FILE_BYTES_MAX + 1 - text->len);
        text->len += got > 0 ? (size_t)got : 0;
    }
    if (got < 0)
        why_set(why, "%s: cannot be read: %s", path, strerror(errno));
    else if (text->len > FILE_BYTES_MAX)
        why_set(why, "%s: found more than %d bytes, allowed at most that", path, FILE_BYTES_MAX);
    if (fd >= 0)
        close(fd);
    return got < 0 ? E_IO : text->len > FILE_BYTES_MAX ? E_SYNTAX : OK;
}

void node_file_set_own_path(const char *path) { own_path = path; }

const char *node_file_own_path(void) { return own_path; }

enum err node_file_load(struct node_file **out, const char *path, struct buf *errors)
{
    struct why why;
    struct buf text;
    char absolute[PATH_MAX];
    *out = NULL;
    buf_init(&text, FILE_BYTES_MAX + 1);
    enum err e = node_file_read(path, &text, &why);
    if (e != OK)
        buf_printf(errors, "%s\n", why.text);
    else
        e = node_file_parse(out, realpath(path, absolute) != NULL ? absolute : path, buf_fit(&text),
                            errors);
    buf_fini(&text);
    return e;
}

enum err node_file_control(const char *path, struct arena *arena, const char **control,
                           const char **data, struct why *why)
{
    struct buf text, errors;
    char absolute[PATH_MAX];
    buf_init(&text, FILE_BYTES_MAX + 1);
    buf_init(&errors, FILE_BYTES_MAX);
    enum err e = node_file_read(path, &text, why);
    if (e == OK) {
        struct node_file *f = file_create(realpath(path, absolute) != NULL ? absolute : path);
        read_text(f, buf_fit(&text), &errors);
        if (f->control != NULL)
            *control = slice_cstr(arena, slice_of(f->control));
        else
            e = E_SYNTAX;
        *data = f->data != NULL ? slice_cstr(arena, slice_of(f->data)) : NULL;
        node_file_free(&f);
    }
    if (e == E_SYNTAX)
        why_set(why, "%.*s", SLICE_ARG(buf_slice(&errors))); /* fits, or is cut */
    buf_fini(&errors);
    buf_fini(&text);
    return e;
}

void node_file_restart_keys(const struct node_file *was, const struct node_file *now,
                            void (*found)(const char *key, void *arg), void *arg)
{
    for (size_t i = 0; node_keys[i].name != NULL; i++) {
        const char *a = was->shown[i] != NULL ? was->shown[i] : "";
        const char *b = now->shown[i] != NULL ? now->shown[i] : "";
        if (node_keys[i].reload == KEY_RESTART && strcmp(a, b) != 0)
            found(node_keys[i].name, arg);
    }
}
