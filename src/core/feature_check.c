#include "core/feature_check.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/command.h"
#include "base/log.h"
#include "base/map.h"
#include "base/metric.h"
#include "base/setting.h"
#include "core/command_form.h"
#include "core/feature.h"
#include "home/host.h"
#include "http/server.h"
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

/* What a feature has and no other may have, as words. */
struct claim {
    slice words;
    const char *feature;
};

struct claims {
    struct arena *arena;
    struct map all; /* struct claim by words */
    const char *feature;
    struct why *why;
    bool agree;
};

static slice claim_words(const void *item) { return ((const struct claim *)item)->words; }

__attribute__((format(printf, 2, 3))) static void feature_claim(struct claims *c, const char *fmt,
                                                                ...)
{
    char text[sizeof c->why->text];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    const struct claim *other = map_get(&c->all, slice_of(text));
    if (other != NULL) {
        if (c->agree)
            why_set(c->why, "features %s and %s both have %s", other->feature, c->feature, text);
        c->agree = false;
        return;
    }
    struct claim *mine = arena_new(c->arena, struct claim, 1);
    *mine = (struct claim){ slice_dup(c->arena, slice_of(text)), c->feature };
    map_put(&c->all, mine);
}

/* `host`: NULL, or the label of the host that has these rules before all others. */
static void claim_iq(struct claims *c, const struct iq_rule *r, const char *host)
{
    static const char *const targets[] = { "the server", "oneself", "an account", "a service",
                                           "a room" };
    for (; r != NULL && r->run != NULL; r++)
        for (unsigned i = 0; i < sizeof targets / sizeof targets[0]; i++)
            if ((r->to & 1u << i) != 0)
                feature_claim(c, "the request <%s xmlns='%s'/> of type %s to %s%s%s", r->name,
                              r->ns, r->type == TYPE_GET ? "get" : "set", targets[i],
                              host != NULL ? " at " : "", host != NULL ? host : "");
}

static void claim_hosts(struct claims *c, const struct host *h)
{
    for (; h != NULL && h->label != NULL; h++) {
        feature_claim(c, "the host %s", h->label);
        claim_iq(c, h->iq, h->label);
    }
}

/* An identity is one by its category and type (XEP-0030 §3.1). A feature that several announce is
 * no conflict: it is shown once. */
static void claim_identities(struct claims *c, const char *const *identities, const char *of)
{
    for (; identities != NULL && *identities != NULL; identities++) {
        slice category, type, rest;
        slice_cut(slice_of(*identities), ' ', &category, &rest);
        slice_cut(rest, ' ', &type, &rest);
        feature_claim(c, "the identity %.*s/%.*s of %s", SLICE_ARG(category), SLICE_ARG(type), of);
    }
}

static void claim_discovered(struct claims *c, const struct feature *f)
{
    claim_identities(c, f->identities, "the server");
    claim_identities(c, f->identities_account, "accounts");
    if (f->form != NULL)
        feature_claim(c, "the form %s", f->form->type);
    if (f->stream_feature != NULL)
        feature_claim(c, "the stream feature %s", f->stream_feature);
}

static void claim_elements(struct claims *c, const struct feature *f)
{
    for (const struct nonza *n = f->nonzas; n != NULL && n->ns != NULL; n++) {
        feature_claim(c, "the element <%s xmlns='%s'/>", n->name, n->ns);
        feature_claim(c, "the element of number %d", (int)n->number);
    }
    for (const struct bind2_rule *r = f->bind2; r != NULL && r->ns != NULL; r++)
        feature_claim(c, "<%s xmlns='%s'/> within <bind/>", r->name, r->ns);
    for (const struct fan_tag *t = f->fans; t != NULL && t->run != NULL; t++)
        feature_claim(c, "fans tagged %c", t->first);
}

static void claim_tables(struct claims *c, const struct feature_tables *one)
{
    const struct {
        const void *table;
        const char *words;
    } has[] = {
        { one->words, "the full text of archives" },
        { one->preauth, "requests before authentication" },
        { one->templates, "what templates give" },
        { one->profiles, "the index of profiles" },
        { one->last, "last activity" },
        { one->watch, "watches of presence" },
        { one->personal, "personal events" },
        { one->archive, "the archives of accounts" },
        { one->push, "push" },
        { one->rooms, "rooms with audiences" },
        { one->policy, "the rules for other servers" },
        { one->addresses, "addresses for other servers" },
    };
    static_assert(sizeof has / sizeof has[0] == sizeof *one / sizeof(void *), "one is missing");
    for (size_t i = 0; i < sizeof has / sizeof has[0]; i++)
        if (has[i].table != NULL)
            feature_claim(c, "%s", has[i].words);
}

/* A setting that holds the path may be changed later: http_path_is_free() looks at that. Listeners
 * of a group also serve what is on theirs alone. */
static void claim_pages(struct claims *c, const struct http_route *r)
{
    for (; r != NULL && r->handle != NULL; r++) {
        const char *path = r->path_from != NULL ? r->path_from->def_text : r->path;
        if ((r->flags & HTTP_OWN_LISTENER) == 0)
            feature_claim(c, "the page %s", path);
        if (r->group != NULL)
            feature_claim(c, "the page %s on listeners of %s", path, r->group);
    }
}

static void claim_schema(struct claims *c, const struct store_schema *s)
{
    if (s == NULL)
        return;
    feature_claim(c, "the tables of %s", s->feature);
    for (struct store_stmt *const *stmt = s->stmts; stmt != NULL && *stmt != NULL; stmt++)
        feature_claim(c, "the statement %s", (*stmt)->name);
}

static void claim_operators(struct claims *c, const struct feature *f)
{
    for (struct setting *const *s = f->settings; s != NULL && *s != NULL; s++)
        feature_claim(c, "the setting %s", (*s)->name);
    for (struct command *const *k = f->commands; k != NULL && *k != NULL; k++)
        feature_claim(c, "the command %s", (*k)->name);
    for (struct metric *const *m = f->metrics; m != NULL && *m != NULL; m++)
        feature_claim(c, "the metric %s", (*m)->name);
    for (struct alarm *const *a = f->alarms; a != NULL && *a != NULL; a++)
        feature_claim(c, "the alarm %s", (*a)->name);
    for (const struct account_fact *a = f->facts; a != NULL && a->name != NULL; a++)
        feature_claim(c, "the fact %s of accounts", a->name);
    for (const struct metric_family *m = f->families; m != NULL && m->name != NULL; m++)
        feature_claim(c, "the metric %s", m->name);
    for (const struct command_form *m = f->command_forms; m != NULL && m->node != NULL; m++)
        feature_claim(c, "the ad-hoc command %s", m->node);
    for (struct log_area *const *l = f->logs; l != NULL && *l != NULL; l++)
        feature_claim(c, "the log area %s", (*l)->name);
}

bool features_agree(const struct feature *const *list, struct why *why)
{
    struct claims c = { .arena = arena_create(0), .why = why, .agree = true };
    map_init(&c.all, claim_words);
    for (const struct feature *const *at = list; *at != NULL; at++) {
        const struct feature *f = *at;
        c.feature = f->name;
        feature_claim(&c, "the name %s", f->name);
        claim_iq(&c, f->iq, NULL);
        claim_hosts(&c, f->hosts);
        claim_discovered(&c, f);
        claim_elements(&c, f);
        claim_pages(&c, f->http);
        claim_schema(&c, f->schema);
        claim_operators(&c, f);
        claim_tables(&c, &f->one);
    }
    map_fini(&c.all);
    arena_destroy(&c.arena);
    return c.agree;
}
