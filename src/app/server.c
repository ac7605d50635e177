#include "app/server.h"
#include "admin/backup_set.h"
#include "admin/settings/settings.h"
#include "app/edges.h"
#include "app/features.h"
#include "app/node_file.h"
#include "app/reload.h"
#include "app/second_node.h"
#include "auth/hashes.h"
#include "auth/looks.h"
#include "auth/seal.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/log.h"
#include "cert/cert_monitor.h"
#include "cert/cert_store.h"
#include "cert/cert_trust.h"
#include "cert/cert_watch.h"
#include "cert/certs.h"
#include "cert/tls_settings.h"
#include "core/feature.h"
#include "core/node_life.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "http/server.h"
#include "io/tls.h"
#include "operate/data_folder.h"
#include "operate/other_database.h"
#include "operate/trim.h"
#include "store/store.h"
#include "xmpp/precis.h"
#include <errno.h>
#include <malloc.h>
#include <semaphore.h>
#include <unistd.h>

enum { ERRORS_BYTES_MAX = 64 * 1024 };

/* Runs fn on a worker and waits for it. */
struct errand {
    struct loop_post post;
    void (*fn)(void *arg);
    void *arg;
    sem_t done;
};

static void errand_run(struct loop_post *p, struct loop *loop)
{
    struct errand *e = CONTAINER_OF(p, struct errand, post);
    (void)loop;
    e->fn(e->arg);
    sem_post(&e->done);
}

static void on_worker(const struct worker *w, void (*fn)(void *arg), void *arg)
{
    struct errand e = { .post.fn = errand_run, .fn = fn, .arg = arg };
    int rc = sem_init(&e.done, 0, 0);
    ensure(rc == 0);
    loop_post(worker_loop(w), &e.post);
    while (sem_wait(&e.done) != 0)
        ensure(errno == EINTR);
    sem_destroy(&e.done);
}

static enum err take_data(struct server *s, struct why *why)
{
    const char *data = s->file->data;
    enum err e = data_folder_lock(data, &s->lock_fd, why);
    if (e != OK || !backup_is_partial(data))
        return e;
    why_set(why, "data: %s: a restore into it was cut short: restore again", data);
    return E_CORRUPT;
}

static enum err open_store(struct server *s, struct why *why)
{
    struct arena *arena = arena_create(0);
    const char *url = s->file->database;
    if (strcmp(url, "sqlite") == 0)
        url = arena_printf(arena, "sqlite:%s/muster.db", s->file->data);
    struct store_conf conf = { .url = url, .schemas = features_schemas(arena) };
    enum err e = store_open(&s->store, &conf, why);
    arena_destroy(&arena);
    return e;
}

static unsigned worker_count(const struct node_file *f)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (f->workers != NODE_WORKERS_AUTO)
        return (unsigned)f->workers;
    return cores < 1 ? 1 : cores > NODE_WORKERS_MAX ? NODE_WORKERS_MAX : (unsigned)cores;
}

enum err server_make_node(struct node **out, const struct node_file *f, struct store *store,
                          const struct edge_made *edges, unsigned first_loop, struct why *why)
{
    const char **domains = arena_new(f->arena, const char *, f->domains.count + 1);
    for (size_t i = 0; i < f->domains.count; i++)
        domains[i] = f->domains.name[i];
    struct node_conf conf = { .id = (uint32_t)f->node_id,
                              .name = f->node,
                              .cluster = f->cluster_id,
                              .domains = domains,
                              .workers = worker_count(f),
                              .first_loop = first_loop,
                              .pin_workers = f->worker_pinning != 0,
                              .store = store,
                              .data = f->data,
                              .gate = &edges_gate,
                              .edges = edges };
    return node_create(out, &conf, why);
}

static enum err start_nodes(struct server *s, struct why *why)
{
    struct node *nodes[SECOND_NODE_ALL];
    enum err e = server_make_node(&s->node, s->file, s->store, s->edges.made, 0, why);
    if (e == OK)
        e = second_node_make(&s->second, s, why);
    if (e == OK)
        e = nodes_start(nodes, second_node_all(s->second, s->node, nodes), why);
    return e;
}

/* What `log level` has set lasts until the node file says something else than before: commands
 * reload, too, such as those that import certificates. */
static void set_log(struct server *s, const struct node_file *f)
{
    if (f->log_level != s->log_level)
        log_set_default((enum log_level)f->log_level);
    s->log_level = f->log_level;
    log_set_format((enum log_format)f->log_format);
}

/* After the settings, which say what TLS takes. */
static enum err start_tls(struct server *s, struct why *why)
{
    struct why refused; /* the alarm says it */
    tls_settings_apply(&refused);
    cert_store_clean(s->file->data);
    enum err e = certs_load(&s->tls, s->file, CERTS_START, why);
    if (e == OK) {
        cert_monitor_begin(s->file->data);
        cert_watch_use(cert_watch_create(s->file));
    }
    return e;
}

static enum err start_parts(struct server *s, struct why *why)
{
    enum err e = take_data(s, why);
    if (e == OK)
        e = open_store(s, why);
    if (e == OK)
        e = seal_load(s->store, s->file->data, why);
    if (e == OK)
        e = looks_complete(s->store, why);
    if (e == OK)
        e = hashes_load(s->store, why);
    if (e == OK)
        e = settings_load(s->store, why);
    if (e == OK)
        e = start_tls(s, why);
    if (e == OK)
        e = cert_trust_load(s->file->data, s->file->trust, why);
    if (e == OK)
        other_database_look(s->store, s->file->data);
    if (e == OK)
        e = edges_make(&s->edges, s->file, s->tls, why);
    if (e == OK)
        e = start_nodes(s, why);
    return e;
}

static void server_add_domain(slice domain)
{
    struct arena *tmp = arena_create(0);
    slice ascii;
    if (precis_domain_ascii(domain, tmp, &ascii) != OK)
        ascii = domain; /* an address in numbers */
    setting_add_domain(domain);
    http_add_domain(domain, ascii);
    arena_destroy(&tmp);
}

enum err server_start(struct server *s, struct node_file *file, struct why *why)
{
    *s = (struct server){ .file = file, .lock_fd = -1, .log_level = -1 };
    set_log(s, file);
    for (size_t i = 0; i < file->domains.count; i++)
        server_add_domain(slice_of(file->domains.name[i]));
    settings_fix(file->settings.item, file->settings.count);
    settings_reload_by(reload_settings);
    /* one heap each for the main thread, the workers and the threads of the store: with fewer they
     * wait for each other, with more memory is scattered */
    mallopt(M_ARENA_MAX, (int)worker_count(file) + 3);
    enum err e = start_parts(s, why);
    if (e != OK) {
        server_stop(s);
        return e;
    }
    trim_after_start();
    log_info(&log_server, LOG_EV("server.ready"), LOG_C("version", MUSTER_VERSION),
             LOG_C("node", file->node), LOG_I("workers", s->node->worker_count),
             LOG_C("config", file->path));
    return OK;
}

/* Changes to running parts, applied at the home of DUTY_SETTINGS. */
struct reload {
    struct server *server;
    const struct node_file *file;
    struct tls_ctx *tls;
    struct cert_watch *watch;
    struct why refused; /* why settings of TLS do not apply; empty: they do */
};

static void apply_reload(void *arg)
{
    const struct reload *r = arg;
    set_log(r->server, r->file);
    settings_fix(r->file->settings.item, r->file->settings.count);
    edges_set_tls(&r->server->edges, r->tls);
    cert_watch_use(r->watch);
}

static void needs_restart(const char *key, void *arg)
{
    struct buf *keys = arg;
    log_warn(&log_server, LOG_EV("reload.restart-needed"), LOG_C("key", key),
             LOG_C("hint", "the change applies after `musterctl server restart`"));
    buf_printf(keys, "%s%s", keys->len > 0 ? ", " : "", key);
}

/* One log line for each mistake. */
static void refuse_reload(enum err e, slice mistakes, slice refused)
{
    slice line, rest = mistakes;
    while (rest.len > 0) {
        slice_cut(rest, '\n', &line, &rest);
        log_error(&log_server, LOG_EV("reload.refused"), LOG_S("why", line));
    }
    reload_ended(e, mistakes, refused);
}

/* Reads the node file and its certificates. Mistakes are lines in `errors`. */
static enum err read_again(struct reload *r, struct node_file **file, struct buf *errors)
{
    struct why why;
    enum err e = node_file_load(file, r->server->file->path, errors);
    if (e != OK) {
        errors->len -= errors->len > 0; /* the last line feed */
        return e;
    }
    tls_settings_apply(&r->refused);
    e = certs_load(&r->tls, *file, CERTS_RELOAD, &why);
    if (e == OK)
        e = cert_trust_load(r->server->file->data, r->server->file->trust, &why);
    if (e != OK) {
        tls_ctx_unref(&r->tls);
        buf_printf(errors, "%s: %s", (*file)->path, why.text);
        node_file_free(file);
    }
    return e;
}

static void apply_tls(void *arg)
{
    const struct reload *r = arg;
    edges_set_tls(&r->server->edges, r->tls);
}

static void on_duty(struct server *s, void (*run)(void *arg), struct reload *r)
{
    uint32_t node; /* this one: a second has no duties */
    on_worker(node_worker(s->node, duty_home(s->node, DUTY_SETTINGS, &node)), run, r);
}

/* What `musterctl set` changes of TLS applies, though the node file or a certificate has a mistake
 * now: with the certificates that are loaded. */
static void renew_tls(struct reload *r)
{
    struct server *s = r->server;
    tls_settings_apply(&r->refused);
    if (tls_ctx_renew(&r->tls, s->tls, &r->refused) != OK) {
        log_error(&log_server, LOG_EV("tls.policy"), LOG_C("why", r->refused.text),
                  LOG_C("hint", "what applied before goes on until the next reload"));
        return;
    }
    on_duty(s, apply_tls, r);
    tls_ctx_unref(&s->tls);
    s->tls = r->tls;
}

/* Keys that need a restart keep their old value until then. So the next reload compares with the
 * file that the server was started with. */
void server_reload(struct server *s)
{
    struct reload r = { .server = s };
    struct node_file *file = NULL;
    struct buf text;
    buf_init(&text, ERRORS_BYTES_MAX);
    reload_begins();
    enum err e = read_again(&r, &file, &text);
    if (e != OK) {
        renew_tls(&r);
        /* fits, or mistakes are left out */
        refuse_reload(e, buf_slice(&text), slice_of(r.refused.text));
        buf_fini(&text);
        return;
    }
    r.file = file;
    r.watch = cert_watch_create(file);
    uint32_t changes = setting_changes();
    on_duty(s, apply_reload, &r);
    node_file_restart_keys(s->file, file, needs_restart, &text);
    tls_ctx_unref(&s->tls);
    s->tls = r.tls;
    if (setting_changes() != changes) /* the node file may fix others of TLS now */
        renew_tls(&r);
    node_file_free(&file);
    log_info(&log_server, LOG_EV("server.reloaded"), LOG_C("config", s->file->path));
    reload_ended(OK, buf_fit(&text), slice_of(r.refused.text));
    buf_fini(&text);
}

void server_cut(struct server *s) { second_node_cut(s->second); }

void server_restarts(struct server *s)
{
    struct node *nodes[SECOND_NODE_ALL];
    unsigned count = second_node_all(s->second, s->node, nodes);
    for (unsigned i = 0; i < count; i++)
        atomic_store(&nodes[i]->restarts, true);
}

void server_stop(struct server *s)
{
    struct node *nodes[SECOND_NODE_ALL];
    if (s->node != NULL) {
        log_info(&log_server, LOG_EV("server.stopping"));
        reload_given_up();
        nodes_stop(nodes, second_node_all(s->second, s->node, nodes));
        log_tell();
    }
    second_node_part(s->second);
    store_close(&s->store); /* before the nodes, whose loops its ports use */
    node_destroy(&s->node);
    second_node_destroy(&s->second);
    edges_destroy(&s->edges);
    tls_ctx_unref(&s->tls);
    cert_watch_end();
    cert_trust_end();
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    node_file_free(&s->file);
}
