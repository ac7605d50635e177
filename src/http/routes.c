/* Which route serves a path: the exact one, else the one with the longest prefix. */
#include "http/http_private.h"

static slice route_path(const struct http_route *r)
{
    return slice_of(r->path_from != NULL ? setting_text(r->path_from) : r->path);
}

/* A path that ends with a slash is a prefix; "/" is the front page alone. */
static bool serves(const struct http_route *r, slice at, slice path)
{
    if (at.len == 0 || !slice_starts(path, at))
        return false;
    return path.len == at.len || (at.len > 1 && at.ptr[at.len - 1] == '/') ||
           ((r->flags & HTTP_BELOW) != 0 && path.ptr[at.len] == '/');
}

const struct http_route *http_route_find(const struct http_server *s, const char *group, slice path)
{
    const struct http_route *best = NULL;
    size_t best_len = 0;
    for (size_t i = 0; i < s->route_count; i++) {
        const struct http_route *r = s->route[i];
        slice at = route_path(r);
        if (group != NULL && (r->group == NULL || strcmp(group, r->group) != 0))
            continue;
        if (group == NULL && (r->flags & HTTP_OWN_LISTENER) != 0)
            continue;
        if (serves(r, at, path) && at.len > best_len) {
            best = r;
            best_len = at.len;
        }
    }
    return best;
}
