/* Which route serves a path: the exact one, else the one with the longest prefix. */
#include "base/ensure.h"
#include "http/http_private.h"

static slice route_path(const struct http_route *r)
{
    return slice_of(r->path_from != NULL ? setting_text(r->path_from) : r->path);
}

/* A path that ends with a slash is a prefix; "/" is the front page alone. */
static bool routes_serves(const struct http_route *r, slice at, slice path)
{
    if (at.len == 0 || !slice_starts(path, at))
        return false;
    return path.len == at.len || (at.len > 1 && at.ptr[at.len - 1] == '/') ||
           ((r->flags & HTTP_BELOW) != 0 && path.ptr[at.len] == '/');
}

/* Rows of the whole process: settings are not of one server. Added at start, before workers run. */
static const struct http_route *known[HTTP_ROUTES_MAX];
static size_t known_count;

void http_route_know(const struct http_route *row)
{
    for (size_t i = 0; i < known_count; i++)
        if (known[i] == row)
            return;
    ensure(known_count < HTTP_ROUTES_MAX);
    known[known_count++] = row;
}

static const struct http_route *routes_row_of(const struct setting *own)
{
    for (size_t i = 0; i < known_count; i++)
        if (known[i]->path_from == own)
            return known[i];
    return NULL;
}

bool http_path_is_free(slice path, const struct setting *own)
{
    const struct http_route *row = routes_row_of(own);
    for (size_t i = 0; row != NULL && path.len > 0 && i < known_count; i++)
        if (known[i]->handle != row->handle && routes_serves(known[i], route_path(known[i]), path))
            return false;
    return true;
}

static bool routes_listened(const struct http_route *r, const char *groups)
{
    slice one, rest = slice_of(groups);
    if (groups == NULL)
        return (r->flags & HTTP_OWN_LISTENER) == 0;
    while (r->group != NULL && slice_word(&rest, &one))
        if (slice_is(one, r->group))
            return true;
    return false;
}

const struct http_route *http_route_find(const struct http_server *s, const char *group, slice path)
{
    const struct http_route *best = NULL;
    size_t best_len = 0;
    ensure(s->route_count <= HTTP_ROUTES_MAX);
    for (size_t i = 0; i < s->route_count; i++) {
        const struct http_route *r = s->route[i];
        slice at = route_path(r);
        if (routes_listened(r, group) && routes_serves(r, at, path) && at.len > best_len) {
            best = r;
            best_len = at.len;
        }
    }
    return best;
}

bool http_route_problems(const struct http_server *s, const char *group, slice path)
{
    for (size_t i = 0; i < s->route_count; i++) {
        const struct http_route *r = s->route[i];
        slice first, rest, part, below;
        if ((r->flags & HTTP_PROBLEMS) == 0 || !routes_listened(r, group))
            continue;
        slice_cut(slice_from(route_path(r), 1), '/', &first, &rest);
        if (path.len == 0)
            return true;
        slice_cut(slice_from(path, 1), '/', &part, &below);
        slice_cut(part, '?', &part, &below);
        if (slice_eq(first, part))
            return true;
    }
    return false;
}
