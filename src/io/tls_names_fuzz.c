/* Any bytes as subjectAltName and as a certificate: no crash, no name that is malformed, and each
 * name is found by what it names. */
#include "base/arena.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "io/tls_names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(const struct tls_name *n, struct arena *arena)
{
    struct tls_names alone = { n, 1 };
    struct tls_wanted w = { .domain = n->text, .wildcards = true };
    slice domain = n->text;
    ensure(n->text.len > 0 && n->text.ptr[n->text.len] == '\0');
    ensure(memchr(n->text.ptr, '\0', n->text.len) == NULL);
    if (n->kind == TLS_NAME_XMPP) {
        ensure(tls_names_find(&alone, &w) == NULL);
        w.xmpp = true;
        ensure(tls_names_find(&alone, &w) == n || n->text.ptr[n->text.len - 1] == '.');
        return;
    }
    if (n->kind == TLS_NAME_SRV) {
        slice service;
        ensure(slice_cut(slice_from(n->text, 1), '.', &service, &domain));
        w.service = service;
    }
    if (slice_starts(domain, SLICE("*."))) {
        char *one = slice_cstr(arena, domain);
        one[0] = 'x';
        w.domain = slice_of(one);
        ensure(tls_names_find(&alone, &w) == n);
        w.wildcards = false;
        ensure(tls_names_find(&alone, &w) == NULL);
        return;
    }
    w.domain = domain;
    w.wildcards = false;
    ensure(tls_names_find(&alone, &w) == n);
}

static void check(enum err e, const struct tls_names *names, struct arena *arena)
{
    ensure(e == OK || (e == E_SYNTAX && names->count == 0));
    ensure(names->count <= TLS_NAMES_MAX);
    for (size_t i = 0; i < names->count; i++)
        check_name(&names->name[i], arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_create(0);
    char *exact = mem_alloc(size > 0 ? size : 1); /* so that a read beyond it is seen */
    if (size > 0)
        memcpy(exact, data, size);
    struct tls_names names;
    enum err e = tls_names_of_san(&names, (slice){ exact, size }, arena);
    check(e, &names, arena);
    e = tls_names_read(&names, (slice){ exact, size }, arena);
    check(e, &names, arena);
    mem_free(&exact);
    arena_destroy(&arena);
    return 0;
}
