#include "ext/federation/federation_list.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "xmpp/jid.h"

struct federation_list {
    struct arena *arena;
    struct map exact; /* slices: domains and addresses */
    struct map below; /* slices: domains, all below is meant */
    slice *glob;      /* addresses with '*' in the name */
    uint32_t globs, count;
    uint32_t line;    /* the last that was read */
    uint32_t useless; /* see federation_list_useless() */
};

static bool list_is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

static slice list_trim(slice s)
{
    while (s.len > 0 && list_is_blank(s.ptr[0]))
        s = slice_from(s, 1);
    while (s.len > 0 && list_is_blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

static void list_put(struct federation_list *l, struct map *into, slice text)
{
    if (map_get(into, text) != NULL)
        return;
    slice *item = arena_new(l->arena, slice, 1);
    *item = slice_dup(l->arena, text);
    map_put(into, item);
}

static enum err list_add_glob(struct federation_list *l, slice text, struct why *why)
{
    if (l->globs == FEDERATION_LIST_GLOBS) {
        why_set(why, "more than %d names with `*`; block the domain instead",
                FEDERATION_LIST_GLOBS);
        return E_LIMIT;
    }

    l->glob[l->globs++] = slice_dup(l->arena, text);
    return OK;
}

/* `*.example` or `example`. */
static enum err list_add_domain(struct federation_list *l, slice text, struct arena *tmp,
                                struct why *why)
{
    slice domain;
    bool below = slice_starts(text, SLICE("*."));
    if (jid_prep_domain(below ? slice_from(text, 2) : text, tmp, &domain) != OK ||
        memchr(domain.ptr, '*', domain.len) != NULL) {
        why_set(why, "found %.*s, expected a domain, *.DOMAIN or NAME@DOMAIN", SLICE_ARG(text));
        return E_SYNTAX;
    }
    if (!below)
        list_put(l, &l->exact, domain);
    else if (jid_may_have_below(domain))
        list_put(l, &l->below, domain);
    else if (l->useless == 0)
        l->useless = l->line;
    return OK;
}

static enum err list_add(struct federation_list *l, slice text, struct arena *tmp, struct why *why)
{
    struct jid jid;
    if (!utf8_valid(text)) { /* nor can it be shown */
        why_set(why, "found bytes that are not UTF-8, expected a domain, *.DOMAIN or NAME@DOMAIN");
        return E_SYNTAX;
    }
    if (memchr(text.ptr, '@', text.len) == NULL)
        return list_add_domain(l, text, tmp, why);
    if (jid_parse(&jid, text, tmp) != OK || !jid_is_bare(&jid) || jid_is_domain(&jid) ||
        memchr(jid.domain.ptr, '*', jid.domain.len) != NULL) {
        why_set(why, "found %.*s, expected NAME@DOMAIN, where the name may have `*`",
                SLICE_ARG(text));
        return E_SYNTAX;
    }
    if (memchr(jid.local.ptr, '*', jid.local.len) != NULL)
        return list_add_glob(l, jid.full, why);
    list_put(l, &l->exact, jid.full);
    return OK;
}

static enum err list_add_line(struct federation_list *l, slice line, struct arena *tmp,
                              struct why *why)
{
    slice rest;
    (void)slice_cut(line, '#', &line, &rest);
    line = list_trim(line);
    if (line.len == 0)
        return OK;
    if (line.len > 2 * JID_PART_MAX) {
        why_set(why, "longer than an address can be");
        return E_SYNTAX;
    }
    if (l->count == FEDERATION_LIST_LINES) {
        why_set(why, "more than %d patterns", FEDERATION_LIST_LINES);
        return E_LIMIT;
    }
    l->count++;
    return list_add(l, line, tmp, why);
}

static struct federation_list *list_new(void)
{
    struct federation_list *l = mem_new(struct federation_list);
    l->arena = arena_create(0);
    l->glob = arena_new(l->arena, slice, FEDERATION_LIST_GLOBS);
    map_init(&l->exact, map_key_slice);
    map_init(&l->below, map_key_slice);
    return l;
}

enum err federation_list_read(struct federation_list **out, slice text, struct why *why)
{
    enum err e = OK;
    *out = NULL;
    if (text.len > FEDERATION_LIST_BYTES) {
        why_set(why, "found %zu bytes, allowed at most %d", text.len, FEDERATION_LIST_BYTES);
        return E_LIMIT;
    }
    if (slice_starts(text, SLICE("\xEF\xBB\xBF"))) /* editors put it there (RFC 3629 §6) */
        text = slice_from(text, 3);
    struct federation_list *l = list_new();
    struct arena *tmp = arena_create(0);
    for (bool more = text.len > 0; more && e == OK; arena_reset(tmp)) {
        struct why found = { "" };
        slice line;
        more = slice_cut(text, '\n', &line, &text);
        l->line++;
        e = list_add_line(l, line, tmp, &found);
        if (e != OK)
            why_set(why, "line %u: %s", l->line, found.text);
    }
    arena_destroy(&tmp);
    if (e == OK)
        *out = l;
    else
        federation_list_free(&l);
    return e;
}

void federation_list_free(struct federation_list **pl)
{
    struct federation_list *l = *pl;
    *pl = NULL;
    if (l == NULL)
        return;
    ensure(l->globs <= l->count);
    map_fini(&l->exact);
    map_fini(&l->below);
    arena_destroy(&l->arena);
    mem_free(&l);
}

uint32_t federation_list_useless(const struct federation_list *l)
{
    return l == NULL ? 0 : l->useless;
}

uint32_t federation_list_count(const struct federation_list *l) { return l == NULL ? 0 : l->count; }

bool federation_list_has_domain(const struct federation_list *l, slice domain)
{
    slice label, rest = domain;
    if (l == NULL || l->count == 0)
        return false;
    if (map_get(&l->exact, domain) != NULL)
        return true;
    if (jid_is_address(domain))
        return false;
    while (l->below.count > 0 && slice_cut(rest, '.', &label, &rest))
        if (map_get(&l->below, rest) != NULL)
            return true;
    return false;
}

/* `*` is any number of characters. Linear in both for each `*`: the last one is where it goes on
 * after a mismatch. */
static bool list_fits(slice glob, slice name)
{
    size_t g = 0, n = 0, star = SIZE_MAX, from = 0;
    while (n < name.len) {
        if (g < glob.len && glob.ptr[g] == '*') {
            star = g++;
            from = n;
        } else if (g < glob.len && glob.ptr[g] == name.ptr[n]) {
            g++;
            n++;
        } else if (star != SIZE_MAX) {
            g = star + 1;
            n = ++from;
        } else {
            return false;
        }
    }
    while (g < glob.len && glob.ptr[g] == '*')
        g++;
    return g == glob.len;
}

static bool list_glob_fits(slice glob, slice local, slice domain)
{
    slice name, rest;
    (void)slice_cut(glob, '@', &name, &rest);
    return slice_eq(rest, domain) && list_fits(name, local);
}

bool federation_list_has(const struct federation_list *l, slice bare)
{
    struct jid jid = jid_split(bare);
    if (l == NULL || l->count == 0)
        return false;
    if (federation_list_has_domain(l, jid.domain) || map_get(&l->exact, bare) != NULL)
        return true;
    for (uint32_t i = 0; jid.local.len > 0 && i < l->globs; i++)
        if (list_glob_fits(l->glob[i], jid.local, jid.domain))
            return true;
    return false;
}
