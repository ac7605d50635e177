/* api: REST for programs and for the console (docs/api.md). All of it is made from the rows of
 * commands: POST /api/v1/commands/user-add runs one by its name, and `rest` of a row says which
 * resources it is. One dispatcher serves all; there is no handler for a single resource.
 *
 * Everything happens on the worker of the HTTP connection; the command goes to its home and comes
 * back (home/command_run.h). A request has at most three commands, one after the other: where a
 * change depends on what is there, that is read first.
 *
 * Limits: API_BODY_MAX for a body, API_ANSWER_MAX for an answer, API_PARTS_MAX parts of a path, and
 * the rates of api.requests-per-token and api.requests-per-address. */
#pragma once
#include "http/server.h"

struct arena;
struct command;
struct edge;
struct feature;

enum { API_BODY_MAX = 256 << 10, API_ANSWER_MAX = 16 << 20, API_PARTS_MAX = 8, API_PAGE = 100 };

/* The target that a path names. */
struct api_target {
    bool found;       /* some row has such a path */
    bool by_name;     /* of /commands/NAME: the body has all arguments */
    unsigned methods; /* that it has: enum http_verb */
    /* By place of the method in enum http_verb; NULL: none. */
    const struct command *row[5];
    slice names[API_PARTS_MAX], values[API_PARTS_MAX]; /* arguments in the path; values in `tmp` */
    size_t count;
};
const struct command *api_row(const struct api_target *t, enum http_verb method);

/* `raw`: the path behind /api/v1, as it came. E_SYNTAX: it has too many parts, or one that is
 * wrongly encoded. */
NODISCARD enum err api_find(slice raw, struct arena *tmp, struct api_target *out);
/* One resource of a row at a time, cut from `rest`: false: there are no more. `path` is a template:
 * "/users/{jid}". */
bool api_rest_next(slice *rest, enum http_verb *method, slice *path);
/* The name of a row in a path: "user-add". */
void api_name(char out[64], const struct command *c);
/* Decodes "a=1&b=two" into names and values, at most *count of them. E_SYNTAX: malformed; E_LIMIT:
 * more of them. */
NODISCARD enum err api_query(slice query, struct arena *tmp, slice *names, slice *values,
                             size_t *count);
/* A place in a list, as clients see it, and back. ptr NULL: it is none of ours. */
slice api_cursor(slice after, struct arena *tmp);
slice api_cursor_read(slice cursor, struct arena *tmp);
/* Whether a GET of the row is one row and not a list, and whether that list has pages. */
bool api_is_single(const struct command *c);
bool api_has_pages(const struct command *c);
/* Whether the command only looks for what is wrong with this server, so it has no arguments: if it
 * finds something, its rows are an answer (200) with `error`. */
bool api_finds(const struct command *c);
/* Whether a client of the API has to give it: none is at the control socket. */
struct command_arg;
bool api_requires(const struct command *c, const struct command_arg *a);
/* Whether what the path names is one thing, which has an ETag: one row, or a whole list that is
 * changed at this path. */
bool api_is_thing(const struct api_target *t);

/* The document of all this, from the rows (OpenAPI 3.1). */
struct buf;
void api_openapi(struct buf *out);

extern const struct feature api_feature;
extern const struct edge api_edge; /* commands that are under way; no `own` */
