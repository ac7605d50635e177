#include "ext/import/import_groups.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/map.h"
#include "ext/import/import_report.h"
#include "ext/import/import_run.h"
#include "home/here.h"
#include "home/node.h"
#include "store/store.h"
#include "xmpp/jid.h"

enum { NAME_BYTES_MAX = 64, TOGETHER = 500, WORDS_BYTES_MAX = 1 << 20, USERS_BYTES_MAX = 2 << 20 };

struct store_stmt import_groups_account = {
    .name = "import.account",
    .sql = "SELECT id FROM account WHERE jid = $1",
    .params = "t",
    .cols = "i",
};

/* Names: lower-case letters, digits, -, _ and . of which no two are the same. */

static slice group_name(struct arena *arena, slice text)
{
    char out[NAME_BYTES_MAX];
    size_t n = 0;
    for (size_t i = 0; i < text.len && n < sizeof out; i++) {
        char c = text.ptr[i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c + ('a' - 'A'));
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
        if (plain)
            out[n++] = c;
        else if (n > 0 && out[n - 1] != '-')
            out[n++] = '-';
    }
    while (n > 0 && (out[n - 1] == '-' || out[n - 1] == '.'))
        n--;
    return n > 0 ? slice_dup(arena, (slice){ out, n }) : SLICE("group");
}

/* A name that is taken has the host behind it. */
static void give_names(struct source_groups *l)
{
    struct map taken;
    map_init(&taken, map_key_slice);
    for (struct source_group *g = l->first; g != NULL; g = g->next) {
        g->here = group_name(l->arena, g->name);
        if (map_get(&taken, g->here) != NULL)
            g->here = group_name(l->arena,
                                 slice_of(arena_printf(l->arena, "%.*s.%.*s", SLICE_ARG(g->name),
                                                       SLICE_ARG(g->host))));
        if (map_get(&taken, g->here) == NULL)
            map_put(&taken, &g->here);
        else if (g->problem == NULL)
            g->problem = arena_printf(l->arena, "another group of the source is %.*s here",
                                      SLICE_ARG(g->here));
    }
    map_fini(&taken);
}

/* Something does not come along; there: it is no loss. */
static void making_tell(struct import_groups *x, const char *what, slice which, bool there)
{
    const struct source_group *g = x->group;
    x->of->left += !there;
    import_report(x->of,
                  slice_of(arena_printf(x->tmp, "group %.*s%s%.*s", SLICE_ARG(g->name),
                                        g->host.len > 0 ? "@" : "", SLICE_ARG(g->host))),
                  what, which);
}

static void making_refuse(struct import_groups *x, slice why)
{
    ensure(x->group->state != GROUP_REFUSED);
    x->group->state = GROUP_REFUSED;
    x->refused++;
    making_tell(x, "refused:", why, true);
    import_tell_progress(x->of);
}

/* Commands. */

static void making_back(struct command_return *r)
{
    struct import_groups *x = CONTAINER_OF(r, struct import_groups, back);
    struct command_call ran = x->ran; /* the next may begin */
    x->then(x, &ran);
    arena_destroy(&ran.arena);
}

static void making_ran(struct command_call *call, void *arg)
{
    struct import_groups *x = arg;
    (void)call;
    command_return(&x->back, x->of->worker, making_back);
}

static void making_call(struct import_groups *x, slice name)
{
    x->ran = (struct command_call){ .command = command_find(name),
                                    .arena = arena_create(0),
                                    .worker = x->of->worker,
                                    .who = x->of->call->who,
                                    .finished = making_ran,
                                    .arg = x };
}

/* x->ran becomes a command about the group under way, with more arguments or none. false: it does
 * not take them; its text says why. */
static bool making_bind(struct import_groups *x, slice name, const slice (*more)[2], size_t count)
{
    enum { ARGS_MAX = 3 };
    slice names[ARGS_MAX] = { SLICE_INIT("name") }, values[ARGS_MAX] = { x->group->here };
    struct why why;
    ensure(count < ARGS_MAX);
    for (size_t i = 0; i < count; i++) {
        names[i + 1] = more[i][0];
        values[i + 1] = more[i][1];
    }
    making_call(x, name);
    if (x->ran.command == NULL)
        why_set(&why, "this server has no groups");
    else if (command_bind(&x->ran, names, values, count + 1, &why) == OK)
        return true;
    x->ran.err = E_SYNTAX;
    x->ran.text = slice_dup(x->ran.arena, slice_of(why.text));
    return false;
}

static void making_command(struct import_groups *x, slice name, const slice (*more)[2],
                           size_t count,
                           void (*then)(struct import_groups *x, const struct command_call *ran))
{
    x->then = then;
    if (making_bind(x, name, more, count))
        command_run(&x->ran);
    else
        command_return(&x->back, x->of->worker, making_back);
}

static void making_end(struct import_groups *x)
{
    arena_destroy(&x->tmp);
    x->done(x->of);
}

/* First all are made. */

static void making_fill(struct import_groups *x);
static void making_look(struct import_groups *x);

static void making_look_next(struct import_groups *x)
{
    x->group = x->group->next;
    making_look(x);
}

static void making_added(struct import_groups *x, const struct command_call *ran)
{
    if (ran->err != OK)
        making_refuse(x, ran->text);
    making_look_next(x);
}

#define NEW_GROUP                                                                                  \
    {                                                                                              \
        { SLICE_INIT("shown"), x->group->shown },                                                  \
        {                                                                                          \
            SLICE_INIT("visible_to"), SLICE_INIT("nobody")                                         \
        }                                                                                          \
    }

/* In a dry run its arguments are looked at. */
static void making_add(struct import_groups *x)
{
    const slice more[][2] = NEW_GROUP;
    if (!x->of->dry) {
        making_command(x, SLICE("group add"), more, 2, making_added);
        return;
    }
    if (!making_bind(x, SLICE("group add"), more, 2))
        making_refuse(x, x->ran.text);
    arena_destroy(&x->ran.arena);
    making_look_next(x);
}

/* One that nobody sees is not ready: an import has made it, and was interrupted. */
static void making_looked(struct import_groups *x, const struct command_call *ran)
{
    struct source_group *g = x->group;
    if (ran->err == E_NOTFOUND) {
        making_add(x);
        return;
    }
    if (ran->err != OK) {
        making_refuse(x, ran->text);
        making_look_next(x);
        return;
    }
    slice shown = command_row_text(ran->rows, "shown");
    g->state =
        slice_is(command_row_text(ran->rows, "visible_to"), "nobody") ? GROUP_BEGUN : GROUP_THERE;
    if (!slice_eq(shown, g->shown))
        making_refuse(x, slice_of(arena_printf(x->tmp, "group %.*s is another one here: \"%.*s\"",
                                               SLICE_ARG(g->here), SLICE_ARG(shown))));
    making_look_next(x);
}

static void making_look(struct import_groups *x)
{
    arena_reset(x->tmp);
    for (; x->group != NULL && x->group->problem != NULL; x->group = x->group->next)
        making_refuse(x, slice_of(x->group->problem));
    if (import_canceled(x->of)) {
        making_end(x);
        return;
    }
    if (x->group != NULL) {
        making_command(x, SLICE("group show"), NULL, 0, making_looked);
        return;
    }
    x->group = x->of->groups.first;
    making_fill(x);
}

/* Then each is filled. */

static void making_filled(struct import_groups *x)
{
    const struct source_group *g = x->group;
    for (const struct source_text *l = g->lost; l != NULL && g->state != GROUP_THERE; l = l->next)
        making_tell(x, slice_cstr(x->tmp, l->text), (slice){ 0 }, false);
    x->imported += g->state == GROUP_NEW || g->state == GROUP_BEGUN;
    x->there += g->state == GROUP_THERE;
    if (g->state == GROUP_THERE && x->member_count > 0)
        making_tell(x,
                    arena_printf(x->tmp,
                                 "is there already; accounts of this import that become its "
                                 "members: %u",
                                 x->member_count),
                    (slice){ 0 }, true);
    else if (g->state == GROUP_THERE)
        making_tell(x, "is there already", (slice){ 0 }, true);
    import_tell_progress(x->of);
    x->group = g->next;
    making_fill(x);
}

static void making_visible(struct import_groups *x, const struct command_call *ran)
{
    if (ran->err != OK)
        making_refuse(x, ran->text);
    making_filled(x);
}

/* The viewers, as the command takes them. */
static slice viewers_of(struct import_groups *x)
{
    const struct source_group *g = x->group;
    const struct node *n = worker_node(x->of->worker);
    struct buf words;
    buf_init(&words, WORDS_BYTES_MAX);
    buf_printf(&words, g->to_members ? "members" : "");
    for (const struct source_viewer *v = g->to; v != NULL; v = v->next)
        if (v->group->state != GROUP_REFUSED)
            buf_printf(&words, " group:%.*s", SLICE_ARG(v->group->here));
    for (unsigned i = 0; g->to_all && i < n->domain_count; i++)
        if (map_get(&x->of->domains, n->domains[i]) != NULL)
            buf_printf(&words, " domain:%.*s", SLICE_ARG(n->domains[i]));
    slice text = buf_slice(&words).len > 0 ? slice_dup(x->tmp, buf_fit(&words)) : SLICE("nobody");
    buf_fini(&words);
    return text;
}

static void making_show(struct import_groups *x)
{
    if (x->of->dry || x->group->state == GROUP_THERE) {
        making_filled(x);
        return;
    }
    const slice more[][2] = { { SLICE_INIT("visible_to"), viewers_of(x) } };
    making_command(x, SLICE("group set"), more, 1, making_visible);
}

static void making_domains(struct import_groups *x);

static void making_domain_added(struct import_groups *x, const struct command_call *ran)
{
    if (ran->err != OK)
        making_tell(x, "all accounts of a domain as members:", ran->text, false);
    making_domains(x);
}

/* The next domain. One that is there already is put again. */
static void making_domains(struct import_groups *x)
{
    while (x->domain != NULL) {
        slice domain = x->domain->text;
        x->domain = x->domain->next;
        if (!node_serves(worker_node(x->of->worker), domain)) {
            making_tell(x, "all accounts as members of the domain, which is none of this server:",
                        domain, false);
        } else if (!x->of->dry && x->group->state != GROUP_THERE) {
            const slice more[][2] = { { SLICE_INIT("domain"), domain } };
            making_command(x, SLICE("group-member add"), more, 1, making_domain_added);
            return;
        }
    }
    making_show(x);
}

static void making_add_members(struct import_groups *x);

static void making_members_added(struct import_groups *x, const struct command_call *ran)
{
    if (ran->err != OK) {
        making_refuse(x, ran->text);
        making_filled(x);
        return;
    }
    making_add_members(x);
}

/* The next of those who are accounts here. */
static void making_add_members(struct import_groups *x)
{
    struct buf users;
    uint32_t most = x->added + TOGETHER < x->member_count ? x->added + TOGETHER : x->member_count;
    if (x->added == x->member_count || x->of->dry) {
        x->domain = x->group->domains;
        making_domains(x);
        return;
    }
    if (import_canceled(x->of)) {
        making_end(x);
        return;
    }
    buf_init(&users, USERS_BYTES_MAX);
    for (; x->added < most; x->added++)
        buf_printf(&users, "%.*s ", SLICE_ARG(x->wanted[x->added]));
    const slice more[][2] = { { SLICE_INIT("users"), slice_dup(x->tmp, buf_fit(&users)) } };
    making_command(x, SLICE("group-member add"), more, 1, making_members_added);
    buf_fini(&users);
}

static bool made_by_this(const struct import *of, slice jid)
{
    const struct import_seen *seen = map_get(&of->seen, jid);
    return seen != NULL && seen->is_new;
}

static void making_check_members(struct import_groups *x);

static void making_checked(void *arg, enum store_result result, const struct store_batch *b)
{
    struct import_groups *x = arg;
    if (result != STORE_OK) {
        making_refuse(x, slice_of(err_text(err_of_store(result))));
        making_filled(x);
        return;
    }
    for (unsigned i = 0; i < store_stmt_count(b); i++) {
        slice jid = x->wanted[x->checked++];
        if (store_row_count(b, i) > 0 || (x->of->dry && made_by_this(x->of, jid)))
            x->wanted[x->member_count++] = jid;
        else
            making_tell(x, "a member that is no account here:", jid, false);
    }
    making_check_members(x);
}

/* Which of them are accounts here: the command takes all or none. */
static void making_check_members(struct import_groups *x)
{
    ensure(x->member_count <= x->checked && x->checked <= x->wanted_count);
    if (x->checked == x->wanted_count) {
        making_add_members(x);
        return;
    }
    struct store_batch *b = store_read(worker_store(x->of->worker), 0);
    for (uint32_t i = x->checked; i < x->wanted_count && i < x->checked + TOGETHER; i++)
        STORE_ADD(b, &import_groups_account, STORE_ANY_ROWS, SV_T(x->wanted[i]));
    store_submit(b, worker_loop(x->of->worker), 0, making_checked, x);
}

/* Of a group that is there, those who came with this import. */
static void making_want(struct import_groups *x)
{
    struct jid jid;
    struct map has;
    uint32_t most = 0;
    for (const struct source_text *m = x->group->members; m != NULL; m = m->next)
        most++;
    map_init(&has, map_key_slice);
    x->wanted = arena_new(x->tmp, slice, most + 1);
    x->wanted_count = x->checked = x->member_count = x->added = 0;
    for (const struct source_text *m = x->group->members; m != NULL; m = m->next) {
        if (jid_parse(&jid, m->text, x->tmp) != OK || !jid_is_bare(&jid) || jid_is_domain(&jid)) {
            making_tell(x, "a member that is no address of a user:", m->text, false);
            continue;
        }
        slice *bare = &x->wanted[x->wanted_count];
        *bare = jid_bare(&jid);
        if (map_get(&has, *bare) != NULL ||
            (x->group->state == GROUP_THERE && !made_by_this(x->of, *bare)))
            continue;
        map_put(&has, bare);
        x->wanted_count++;
    }
    map_fini(&has);
    making_check_members(x);
}

static void making_fill(struct import_groups *x)
{
    arena_reset(x->tmp);
    while (x->group != NULL && x->group->state == GROUP_REFUSED)
        x->group = x->group->next;
    if (x->group == NULL || import_canceled(x->of))
        making_end(x);
    else
        making_want(x);
}

void import_groups_start(struct import *of, void (*done)(struct import *of))
{
    struct import_groups *x = &of->making;
    ensure(of->groups.count > 0);
    *x = (struct import_groups){
        .of = of, .done = done, .group = of->groups.first, .tmp = arena_create(0)
    };
    give_names(&of->groups);
    making_look(x);
}
