#include "ext/federation/federation_book.h"
#include "account/account.h"
#include "account/shared.h"
#include "base/arena.h"
#include "base/command.h"
#include "base/ensure.h"
#include "xmpp/jid.h"
#include <pthread.h>

const char *const federation_mode_names[] = { "default", "off", "on", "only", "except", NULL };

static struct {
    pthread_rwlock_t lock; /* guards all below */
    bool read;             /* from the database, once at least */
    struct federation_list *file, *decided;
    struct arena *arena; /* of the groups */
    struct federation_group *groups;
    uint32_t group_count;
} book = { .lock = PTHREAD_RWLOCK_INITIALIZER };

static bool book_word_ok(slice word, struct arena *tmp)
{
    slice prepared;
    bool below = slice_starts(word, SLICE("*."));
    if (below)
        word = slice_from(word, 2);
    return jid_prep_domain(word, tmp, &prepared) == OK &&
           (!below || jid_may_have_below(prepared)) &&
           memchr(prepared.ptr, '*', prepared.len) == NULL;
}

slice federation_domains_prepared(slice words, struct arena *tmp)
{
    slice word, prepared, all = { "", 0 };
    while (slice_word(&words, &word)) {
        bool below = slice_starts(word, SLICE("*."));
        if (jid_prep_domain(below ? slice_from(word, 2) : word, tmp, &prepared) == OK)
            all = slice_of(arena_printf(tmp, "%.*s%s%s%.*s", SLICE_ARG(all), all.len > 0 ? " " : "",
                                        below ? "*." : "", SLICE_ARG(prepared)));
    }
    return all;
}

bool federation_domains_ok(slice words)
{
    struct arena *tmp = arena_create(0);
    bool right = true;
    slice word;
    while (right && slice_word(&words, &word))
        right = book_word_ok(word, tmp);
    arena_destroy(&tmp);
    return right;
}

bool federation_domains_any(slice words) { return slice_word(&words, &(slice){ 0 }); }

static bool book_word_means(slice word, slice domain)
{
    if (!slice_starts(word, SLICE("*.")))
        return slice_eq(word, domain);
    slice below = slice_from(word, 1); /* with its dot */
    return domain.len > below.len && !jid_is_address(domain) &&
           slice_eq(slice_from(domain, domain.len - below.len), below);
}

bool federation_rule_allows(const struct federation_rule *r, slice domain)
{
    slice word, words = r->domains;
    bool named = false;
    if (r->mode != FEDERATION_ONLY && r->mode != FEDERATION_EXCEPT)
        return r->mode == FEDERATION_ON;
    while (!named && slice_word(&words, &word))
        named = book_word_means(word, domain);
    return named == (r->mode == FEDERATION_ONLY);
}

bool federation_mode_fits(struct command_call *call, int64_t mode, slice domains)
{
    bool needs = mode == FEDERATION_ONLY || mode == FEDERATION_EXCEPT;
    if (needs == federation_domains_any(domains))
        return true;
    if (needs)
        command_fail(call, E_SYNTAX, "`%s` needs the domains, such as --domains partner.test",
                     federation_mode_names[mode]);
    else
        command_fail(
            call, E_SYNTAX,
            "domains are for `only` and `except`; leave out --domains, or say one of them");
    return false;
}

bool federation_rule_is(const struct federation_rule *r, const struct federation_rule *other)
{
    return r->mode == other->mode && slice_eq(r->domains, other->domains);
}

slice federation_rule_text(const struct federation_rule *r, struct arena *arena)
{
    if (r->mode == FEDERATION_DEFAULT)
        return SLICE("");
    return slice_of(arena_printf(arena, "%s%s%.*s", federation_mode_names[r->mode],
                                 r->domains.len > 0 ? " domains=" : "", SLICE_ARG(r->domains)));
}

static void book_put(struct federation_list **at, struct federation_list *l)
{
    pthread_rwlock_wrlock(&book.lock);
    struct federation_list *old = *at;
    *at = l;
    pthread_rwlock_unlock(&book.lock);
    federation_list_free(&old);
}

void federation_book_put_read(void)
{
    pthread_rwlock_wrlock(&book.lock);
    book.read = true;
    pthread_rwlock_unlock(&book.lock);
}

bool federation_book_is_read(void)
{
    pthread_rwlock_rdlock(&book.lock);
    bool read = book.read;
    pthread_rwlock_unlock(&book.lock);
    return read;
}

void federation_book_put_file(struct federation_list *l) { book_put(&book.file, l); }
void federation_book_put_decided(struct federation_list *l) { book_put(&book.decided, l); }

uint32_t federation_book_file_count(void)
{
    pthread_rwlock_rdlock(&book.lock);
    uint32_t count = federation_list_count(book.file);
    pthread_rwlock_unlock(&book.lock);
    return count;
}

void federation_book_put_groups(const struct federation_group *groups, uint32_t count)
{
    struct arena *arena = arena_create(0);
    struct federation_group *copy = arena_new(arena, struct federation_group, count + 1);
    ensure(count <= FEDERATION_GROUPS_MAX);
    for (uint32_t i = 0; i < count; i++)
        copy[i] = (struct federation_group){ slice_dup(arena, groups[i].name),
                                             { groups[i].rule.mode,
                                               slice_dup(arena, groups[i].rule.domains) } };
    pthread_rwlock_wrlock(&book.lock);
    struct arena *old = book.arena;
    book.arena = arena;
    book.groups = copy;
    book.group_count = count;
    pthread_rwlock_unlock(&book.lock);
    arena_destroy(&old);
}

bool federation_book_file_has_domain(slice domain)
{
    pthread_rwlock_rdlock(&book.lock);
    bool has = federation_list_has_domain(book.file, domain);
    pthread_rwlock_unlock(&book.lock);
    return has;
}

bool federation_book_decided_has_domain(slice domain)
{
    pthread_rwlock_rdlock(&book.lock);
    bool has = federation_list_has_domain(book.decided, domain);
    pthread_rwlock_unlock(&book.lock);
    return has;
}

bool federation_book_blocks(slice bare)
{
    pthread_rwlock_rdlock(&book.lock);
    bool blocks = federation_list_has(book.file, bare) || federation_list_has(book.decided, bare);
    pthread_rwlock_unlock(&book.lock);
    return blocks;
}

static bool book_is_shared(const struct federation_group *g)
{
    return g->rule.mode != FEDERATION_DEFAULT && slice_starts(g->name, FEDERATION_GROUP_MARK);
}

bool federation_book_has_shared(void)
{
    bool has = false;
    pthread_rwlock_rdlock(&book.lock);
    for (uint32_t i = 0; i < book.group_count && !has; i++)
        has = book_is_shared(&book.groups[i]);
    pthread_rwlock_unlock(&book.lock);
    return has;
}

struct federation_rule federation_book_shared(const struct account *a, struct arena *arena,
                                              slice *name)
{
    struct federation_rule rule = { .mode = FEDERATION_DEFAULT };
    const struct shared *groups = shared_of(a);
    const struct shared_person *person = shared_here(groups, a->jid);
    if (person == NULL)
        return rule;
    pthread_rwlock_rdlock(&book.lock);
    for (uint32_t i = 0; i < book.group_count && rule.mode == FEDERATION_DEFAULT; i++) {
        const struct federation_group *g = &book.groups[i];
        if (!book_is_shared(g) ||
            !shared_is_in(groups, person, slice_from(g->name, FEDERATION_GROUP_MARK.len)))
            continue;
        rule = (struct federation_rule){ g->rule.mode, slice_dup(arena, g->rule.domains) };
        if (name != NULL)
            *name = slice_dup(arena, g->name);
    }
    pthread_rwlock_unlock(&book.lock);
    return rule;
}

struct federation_rule federation_book_group(slice name, struct arena *arena)
{
    if (name.len == 0 || slice_starts(name, FEDERATION_GROUP_MARK))
        return (struct federation_rule){ .mode = FEDERATION_DEFAULT };
    return federation_book_named(name, arena);
}

struct federation_rule federation_book_named(slice name, struct arena *arena)
{
    struct federation_rule rule = { .mode = FEDERATION_DEFAULT };
    pthread_rwlock_rdlock(&book.lock);
    ensure(book.group_count == 0 || book.groups != NULL);
    for (uint32_t i = 0; i < book.group_count; i++) {
        if (!slice_eq(book.groups[i].name, name))
            continue;
        rule = book.groups[i].rule;
        rule.domains = slice_dup(arena, rule.domains);
        break;
    }
    pthread_rwlock_unlock(&book.lock);
    return rule;
}
