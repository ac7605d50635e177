/* api_same: what was read may be sent back. A change of a thing may contain members that GET shows
 * and the change does not take, if they are as they are. */
#include "admin/api/api_private.h"
#include "admin/control_json.h"
#include "base/arena.h"
#include "base/buf.h"
#include <jansson.h>

/* The column of a single row, or NULL. */
static const struct command_column *same_column(const struct command *get, const char *name)
{
    return command_column_find(api_is_single(get) ? get->columns : NULL, slice_of(name));
}

static bool shows(const struct command *get, const char *name)
{
    return api_is_single(get) ? same_column(get, name) != NULL : strcmp(name, API_SAME_LIST) == 0;
}

bool api_takes(const struct api_target *t, const struct command *c, const char *name)
{
    bool takes = command_has_arg(c, name);
    for (size_t i = 0; i < t->count; i++)
        takes = takes && !slice_is(t->names[i], name);
    return takes;
}

bool api_sends_back(const struct api_job *j, const struct command *c)
{
    const struct command *get = api_row(&j->target, HTTP_M_GET);
    json_t *value, *body = json_loadb(j->body.ptr, j->body.len, JSON_REJECT_DUPLICATES, NULL);
    const char *name;
    bool found = false;
    json_object_foreach(body, name, value) found =
        found || (shows(get, name) && !api_takes(&j->target, c, name));
    json_decref(body);
    return found;
}

/* The answer of GET. */
static json_t *same_shown(const struct command_call *call)
{
    struct buf text;
    buf_init(&text, API_ANSWER_MAX);
    if (api_is_single(call->command) && call->rows != NULL)
        control_record(&text, call);
    else
        control_page(&text, call, (slice){ 0 });
    json_t *shown = json_loadb(text.ptr, text.len, 0, NULL);
    buf_fini(&text);
    return shown;
}

static int same_part(const char *text, size_t len, void *out)
{
    buf_append(out, text, len);
    return 0;
}

/* Numbers may be longer than they were. */
static enum err same_text(const json_t *body, struct arena *arena, slice *text, struct why *why)
{
    struct buf out;
    buf_init(&out, API_BODY_MAX);
    json_dump_callback(body, same_part, &out, JSON_COMPACT);
    enum err e = out.overflow ? E_SYNTAX : OK;
    if (e == OK)
        *text = slice_dup(arena, buf_slice(&out));
    else
        why_set(why, "the body is too long: send only what changes");
    buf_fini(&out);
    return e;
}

/* The words of a text, each once: their order does not count. */
static json_t *same_words(slice text)
{
    json_t *words = json_object();
    slice word;
    while (slice_word(&text, &word))
        json_object_setn_new(words, word.ptr, word.len, json_true());
    return words;
}

/* GET shows several words as one text, which a body may have as a list. */
static bool same_list(struct api_job *j, const struct command_arg *a, const json_t *list, slice now)
{
    slice text = control_list(j->arena, a, list);
    if (text.ptr == NULL || !a->many)
        return text.ptr != NULL && slice_eq(text, now);
    json_t *given = same_words(text), *had = same_words(now);
    bool equal = json_equal(given, had);
    json_decref(given);
    json_decref(had);
    return equal;
}

static bool same_value(struct api_job *j, const struct command *c, const char *name,
                       const json_t *value, const json_t *now)
{
    const struct command_arg *a = control_arg(c, name);
    if (a != NULL && json_is_array(value) && json_is_string(now))
        return same_list(j, a, value, (slice){ json_string_value(now), json_string_length(now) });
    return json_equal(value, now);
}

bool api_moves(const struct command *get, const char *name)
{
    const struct command_column *at = same_column(get, name);
    return at != NULL && at->moves;
}

/* Members that only GET has would tell those who may not read it what it is like. */
static bool same_hidden(const struct api_job *j, const char *name)
{
    const struct command *put = api_row(&j->target, HTTP_M_PUT);
    return j->blind && (put == NULL || !api_takes(&j->target, put, name));
}

static enum err same_refuse(struct api_job *j, const struct command *c, const char *name,
                            struct why *why)
{
    if (same_hidden(j, name))
        why_set(why,
                "%s: %s: you may not read what it is, and this does not change it; leave it out",
                c->name, name);
    else
        why_set(why,
                "%s: %s: found another value than it has, which this does not change; leave it "
                "out",
                c->name, name);
    j->call.culprit = slice_cstr(j->arena, slice_of(name));
    return E_SYNTAX;
}

/* Takes out the members that the change does not take, and of a PATCH those that are as they are: a
 * passing state would become a rule, and what somebody else changes meanwhile be undone. *changes:
 * one of the others is not as it is. */
static enum err same_sift(struct api_job *j, const struct command *c, json_t *body,
                          const json_t *shown, bool *changes, struct why *why)
{
    const struct command *get = j->call.command;
    const char *name;
    json_t *value;
    void *next;
    bool patch = c == api_row(&j->target, HTTP_M_PATCH);
    json_object_foreach_safe(body, next, name, value)
    {
        const json_t *now = json_object_get(shown, name);
        bool equal = now != NULL && same_value(j, c, name, value, now);
        bool takes = api_takes(&j->target, c, name) || (now == NULL && !shows(get, name));
        bool drops = takes ? patch && equal && !j->blind
                           : (equal || api_moves(get, name)) && !same_hidden(j, name);
        if (drops)
            json_object_del(body, name);
        else if (takes)
            *changes = *changes || !equal || j->blind;
        else
            return same_refuse(j, c, name, why);
    }
    return OK;
}

enum err api_same(struct api_job *j, const struct command *c, struct why *why)
{
    json_t *body = json_loadb(j->body.ptr, j->body.len, JSON_REJECT_DUPLICATES, NULL);
    json_t *shown = same_shown(&j->call);
    bool changes = json_object_size(body) == 0; /* of nothing, the command says what it lacks */
    enum err e = same_sift(j, c, body, shown, &changes, why);
    if (e == OK && json_is_object(body)) {
        j->same = !changes;
        e = same_text(body, j->arena, &j->body, why);
    }
    json_decref(body);
    json_decref(shown);
    return e;
}

bool api_same_secrets(struct api_job *j, const struct command *make, const struct command *c,
                      slice *made_of)
{
    json_t *body = json_loadb(j->body.ptr, j->body.len, JSON_REJECT_DUPLICATES, NULL);
    json_t *taken = json_object();
    struct why why; /* of a body that is too long, which its parts are not */
    bool any = false;
    for (const struct command_arg *a = make->args; a != NULL && a->name != NULL; a++) {
        json_t *value = json_object_get(body, a->name);
        bool secret = command_arg_is_of_secrets(a);
        if (value == NULL || !(secret ? !command_has_arg(c, a->name) : a->kind == ARG_POSITIONAL))
            continue;
        json_object_set(taken, a->name, value);
        if (secret)
            json_object_del(body, a->name);
        any = any || secret;
    }
    bool found = any && same_text(taken, j->arena, made_of, &why) == OK &&
                 same_text(body, j->arena, &j->body, &why) == OK;
    json_decref(body);
    json_decref(taken);
    return found;
}
