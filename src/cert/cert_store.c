#include "cert/cert_store.h"
#include "app/node_file.h"
#include "base/arena.h"
#include "base/durable.h"
#include "base/secret_file.h"
#include "base/whole_file.h"
#include "xmpp/jid.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MISTAKES_BYTES_MAX = 64 * 1024 };

static const char *path_of(struct arena *arena, const char *data, const char *domain,
                           const char *end)
{
    return arena_printf(arena, "%s/certs/%s.%s", data, domain, end);
}

const char *cert_store_pair(struct arena *arena, const char *data, const char *domain)
{
    return path_of(arena, data, domain, "pem");
}

const char *cert_store_request(struct arena *arena, const char *data, const char *domain)
{
    return path_of(arena, data, domain, "key");
}

bool cert_store_has(const char *path) { return access(path, F_OK) == 0; }

static bool store_has_domain(const struct node_domains *all, slice domain)
{
    for (size_t i = 0; i < all->count; i++)
        if (slice_is(domain, all->name[i]))
            return true;
    return false;
}

/* NULL: it is no file of a domain. */
static const char *store_domain_of(const char *file, struct arena *arena)
{
    static const char end[] = ".pem";
    size_t len = strlen(file);
    slice prepared, domain = { file, len - (sizeof end - 1) };
    if (len < sizeof end || strcmp(file + domain.len, end) != 0 ||
        jid_prep_domain(domain, arena, &prepared) != OK || !slice_eq(prepared, domain))
        return NULL;
    return slice_cstr(arena, domain);
}

static int store_name_order(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void cert_store_others(struct node_domains *out, const char *data, const struct node_domains *ours,
                       struct arena *arena)
{
    const char **name = arena_new(arena, const char *, CERT_STORE_OTHERS_MAX);
    DIR *dir = opendir(arena_printf(arena, "%s/certs", data));
    const struct dirent *d;
    *out = (struct node_domains){ name, 0 };
    while (dir != NULL && out->count < CERT_STORE_OTHERS_MAX && (d = readdir(dir)) != NULL) {
        const char *domain = store_domain_of(d->d_name, arena);
        if (domain != NULL && !store_has_domain(ours, slice_of(domain)))
            name[out->count++] = domain;
    }
    if (dir != NULL)
        closedir(dir);
    qsort(name, out->count, sizeof *name, store_name_order);
}

enum err cert_store_write(const char *data, const char *path, slice pem, struct why *why)
{
    struct arena *arena = arena_create(0);
    enum err e = durable_folder(arena_printf(arena, "%s/certs", data), 0700, why);
    if (e == OK)
        e = secret_file_write(path, pem, why);
    arena_destroy(&arena);
    return e;
}

enum err cert_store_replace(const struct cert_file *files, size_t count, struct why *why)
{
    struct arena *arena = arena_create(0);
    const char **made = arena_new(arena, const char *, count);
    enum err e = OK;
    size_t written = 0;
    for (; e == OK && written < count; written++) {
        made[written] = arena_printf(arena, "%s.new", files[written].path);
        e = secret_file_write(made[written], files[written].text, why);
    }
    for (size_t i = 0; e == OK && i < count; i++)
        if (rename(made[i], files[i].path) != 0)
            e = durable_failed(why, files[i].path, errno);
    for (size_t i = 0; e != OK && i < written; i++)
        unlink(made[i]);
    if (e == OK && count > 0)
        e = durable_sync_parent(files[0].path, why);
    arena_destroy(&arena);
    return e;
}

enum err cert_store_node_file(struct node_file **out, struct why *why)
{
    struct buf mistakes;
    slice first, rest;
    buf_init(&mistakes, MISTAKES_BYTES_MAX);
    enum err e = node_file_load(out, node_file_own_path(), &mistakes);
    slice_cut(buf_fit(&mistakes), '\n', &first, &rest);
    if (e != OK)
        why_set(why, "the node file has a mistake, so nothing can be applied: %.*s",
                SLICE_ARG(first));
    buf_fini(&mistakes);
    return e;
}

enum err cert_store_read_given(struct buf *out, const char *path, struct why *why)
{
    struct why cause;
    enum err e = whole_file_read(out, path, &cause);
    why_set(why, "%s%s", e != OK ? cause.text : "",
            e == E_IO ? ". musterd reads the file itself: its user must be able to, and systemd "
                        "hides /tmp and /home from it. Copy the file to /etc/muster with `install "
                        "-g muster -m 640`"
                      : "");
    return e;
}

static bool is_left_over(const char *name)
{
    size_t len = strlen(name);
    return len >= 4 && strcmp(name + len - 4, ".new") == 0; /* of base/durable.h, too */
}

static void clean_folder(const char *folder, struct arena *arena)
{
    DIR *dir = opendir(folder);
    const struct dirent *d;
    while (dir != NULL && (d = readdir(dir)) != NULL)
        if (is_left_over(d->d_name))
            unlink(arena_printf(arena, "%s/%s", folder, d->d_name));
    if (dir != NULL)
        closedir(dir);
}

void cert_store_clean(const char *data)
{
    static const char *const folders[] = { "certs", "trust/federation", "trust/clients" };
    struct arena *arena = arena_create(0);
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
        clean_folder(arena_printf(arena, "%s/%s", data, folders[i]), arena);
    unlink(arena_printf(arena, "%s/self-signed-key.pem.new", data));
    unlink(arena_printf(arena, "%s/self-signed-cert.pem.new", data));
    arena_destroy(&arena);
}

enum err cert_store_remove(const char *path, struct why *why)
{
    if (unlink(path) != 0)
        return durable_failed(why, path, errno);
    return durable_sync_parent(path, why);
}
