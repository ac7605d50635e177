#include "cert/cert_trust.h"
#include "app/node_file.h"
#include "app/reload.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/durable.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/setting.h"
#include "cert/cert_note.h"
#include "cert/cert_store.h"
#include "cert/certs.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "io/tls_trust.h"
#include "io/work.h"
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <unistd.h>

enum {
    FINGERPRINT_LEN = 64,
    NAME_LEN_MAX = 240,
    CRL_FILES_MAX = 64 /* that are listed */,
    FILES_MAX = 2 * TLS_TRUST_MAX /* of a store */
};

static const char *const store_names[] = { "federation", "clients", NULL };

static struct alarm trust_alarm = {
    .name = "tls.trust-expiry",
    .severity = ALARM_WARNING,
    .text = "A certificate that this server trusts expires soon or has expired, or a list of "
            "revoked certificates is old.",
    .action = "Add the certificate that replaces it (`musterctl cert-trust add`) and delete this "
              "one (`musterctl cert-trust del`). For a list, put a new one in its place and run "
              "`musterctl server reload`. `musterctl cert-trust list` shows all.",
    .explanation =
        "Connections to servers, and clients that log in with certificates, are judged with these "
        "certificates.",
    .raised_when =
        "One of them expires within cert.notice-from days, or a list of revoked certificates is "
        "past its next update.",
    .cleared_when = "All are valid for longer.",
    .settings = "cert.notice-from",
};

static struct alarm file_alarm = {
    .name = "tls.trust-file",
    .severity = ALARM_ERROR,
    .text = "A file in a folder of trusted certificates cannot be used. The other files count. At "
            "a reload that is refused, all files count as they were before.",
    .action = "Correct or remove it, and run `musterctl server reload`. `musterctl cert-trust "
              "list` shows what counts.",
    .explanation = "Certificates in a file with a mistake are not trusted.",
    .raised_when = "A file in a trust folder cannot be read or parsed.",
    .cleared_when = "All files can be used.",
};

static void trust_system_changed(struct worker *w, const struct setting *s);

static struct setting trust_system = {
    .name = "cert.trust-system",
    .scope = SCOPE_NODE,
    .type = PARAM_BOOL,
    .def = 1,
    .changed = trust_system_changed,
    .doc = "Whether other servers are trusted whose certificates lead to an authority that the "
           "operating system trusts. Off: only those of `cert-trust add`. It does not matter where "
           "the node file has tls.trust, which counts instead of the operating system.",
};

struct trust_entry {
    const char *path;
    struct tls_cert_facts facts;
    size_t in_file; /* certificates in that file */
};

/* A file of lists of revoked certificates. */
struct trust_crl {
    const char *path;
    struct tls_crl_facts facts;
};

/* A store as it was read. */
struct trust_store {
    struct arena *arena;
    struct trust_entry *entry;
    size_t count;
    struct trust_crl crl[CRL_FILES_MAX];
    size_t crl_count, bad_count; /* bad: files that are of no use; `bad` is about the first */
    struct why bad;
    const char **path; /* of all files that count */
    size_t path_count;
    bool lost; /* one that counted before is of no use now, or the folder is; `bad` is about it */
    struct tls_trust *own, *with_system; /* with_system: of federation only */
};

static struct tls_trusted trusted[CERT_TRUST_STORES] = { TLS_TRUSTED_INIT, TLS_TRUSTED_INIT };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct trust_store stores[CERT_TRUST_STORES]; /* guarded by lock */
/* One command at a time writes files. Taken on helper threads only. */
static pthread_mutex_t files_lock = PTHREAD_MUTEX_INITIALIZER;

struct tls_trusted *cert_trusted(enum cert_trust_store store)
{
    ensure(store < CERT_TRUST_STORES);
    return &trusted[store];
}

static const char *trust_folder(struct arena *arena, const char *data, unsigned store)
{
    return arena_printf(arena, "%s/trust/%s", data, store_names[store]);
}

/* Loading. */

static void trust_store_free(struct trust_store *s)
{
    tls_trust_unref(&s->own);
    tls_trust_unref(&s->with_system);
    arena_destroy(&s->arena);
}

/* A name that a backup could not have is not trusted now either. */
static enum err trust_check_name(const char *path, const char *name, struct why *why)
{
    if (strpbrk(name, " \n") == NULL && strlen(name) <= NAME_LEN_MAX)
        return OK;
    why_set(why, "%s: the name has a space or more than %d bytes; rename the file", path,
            NAME_LEN_MAX);
    return E_SYNTAX;
}

static enum err trust_read_file(struct trust_store *s, const char *path, const char *name,
                                struct why *why)
{
    struct tls_chain chain;
    enum err e = trust_check_name(path, name, why);
    if (e == OK)
        e = tls_cert_read_chain(&chain, path, TLS_TRUST_MAX, s->arena, why);
    if (e == OK && chain.count > TLS_TRUST_MAX - s->count) {
        why_set(why,
                "%s: with it there are more than %d trusted certificates, allowed at most that",
                path, TLS_TRUST_MAX);
        e = E_LIMIT;
    }
    for (size_t i = 0; e == OK && i < chain.count; i++)
        s->entry[s->count++] = (struct trust_entry){ path, chain.item[i], chain.count };
    return e;
}

static void trust_note_bad(struct trust_store *s, const struct why *why, bool lost)
{
    if (s->bad_count++ == 0 || (lost && !s->lost))
        s->bad = *why;
    s->lost = s->lost || lost;
}

static enum err trust_read_crl(struct trust_store *s, const char *path, const char *name,
                               struct why *why)
{
    struct trust_crl one = { .path = path };
    struct why beyond;
    enum err e = trust_check_name(path, name, why);
    if (e == OK)
        e = tls_crl_check(&one.facts, path, why);
    if (e == OK && s->crl_count < CRL_FILES_MAX)
        s->crl[s->crl_count++] = one;
    if (e == OK && one.facts.beyond != NULL) {
        why_set(&beyond, "%s: a list does not count: %s", path, one.facts.beyond);
        trust_note_bad(s, &beyond, false);
    }
    return e;
}

static bool trust_has_path(const struct trust_store *s, const char *path)
{
    for (size_t i = 0; i < s->path_count; i++)
        if (strcmp(s->path[i], path) == 0)
            return true;
    return false;
}

static void trust_read_one(struct trust_store *s, const char *path, const char *name,
                           const struct trust_store *before)
{
    bool crl = tls_crl_takes(name);
    struct why why;
    enum err e = OK;
    if (!crl && !tls_trust_takes(name))
        return;
    if (s->path_count == FILES_MAX) {
        why_set(&why, "%s: there are more than %d files, allowed at most that", path, FILES_MAX);
        e = E_LIMIT;
    }
    if (e == OK)
        e = crl ? trust_read_crl(s, path, name, &why) : trust_read_file(s, path, name, &why);
    if (e == OK)
        s->path[s->path_count++] = path;
    else
        trust_note_bad(s, &why, trust_has_path(before, path));
}

static void trust_read_folder(struct trust_store *s, const char *folder,
                              const struct trust_store *before)
{
    DIR *dir = opendir(folder);
    const struct dirent *d;
    struct why why;
    if (dir == NULL && errno != ENOENT && durable_failed(&why, folder, errno) != OK)
        trust_note_bad(s, &why, before->path_count > 0);
    while (dir != NULL && (d = readdir(dir)) != NULL)
        trust_read_one(s, arena_printf(s->arena, "%s/%s", folder, d->d_name), d->d_name, before);
    if (dir != NULL)
        closedir(dir);
}

/* A file that counted and is damaged now may be half written. Without it, revoked certificates
 * would be accepted again. */
static enum err trust_is_whole(const struct trust_store *s, struct why *why)
{
    if (!s->lost)
        return OK;
    why_set(why, "%s; the files that were read before still count: correct or remove this one",
            s->bad.text);
    return E_SYNTAX;
}

/* file: of authorities of other servers, in place of those of the system; NULL: none. */
static enum err trust_store_load(struct trust_store *s, const char *data, const char *file,
                                 unsigned store, const struct trust_store *before, struct why *why)
{
    bool federation = store == CERT_TRUST_FEDERATION;
    *s = (struct trust_store){ .arena = arena_create(0) };
    s->entry = arena_new(s->arena, struct trust_entry, TLS_TRUST_MAX);
    s->path = arena_new(s->arena, const char *, FILES_MAX);
    trust_read_folder(s, trust_folder(s->arena, data, store), before);
    enum err e = trust_is_whole(s, why);
    if (e != OK)
        alarm_raise(&file_alarm, slice_of(why->text));
    if (e == OK)
        e = tls_trust_create_with(&s->own, false, federation ? file : NULL, s->path, s->path_count,
                                  why);
    if (e == OK && federation && file == NULL)
        e = tls_trust_create_with(&s->with_system, true, NULL, s->path, s->path_count, why);
    if (e != OK)
        trust_store_free(s);
    return e;
}

/* With the lock. */
static void trust_publish(unsigned store)
{
    const struct trust_store *s = &stores[store];
    struct tls_trust *t =
        s->with_system != NULL && setting_bool(&trust_system) ? s->with_system : s->own;
    tls_trusted_set(&trusted[store], t != NULL ? tls_trust_ref(t) : NULL);
}

/* Of the stores that count now, which main's thread alone replaces. */
static void trust_tell_bad(void)
{
    const struct trust_store *bad = NULL;
    for (unsigned i = 0; i < CERT_TRUST_STORES; i++)
        bad = bad == NULL && stores[i].bad_count > 0 ? &stores[i] : bad;
    if (bad == NULL)
        alarm_clear(&file_alarm);
    else
        alarm_raise(&file_alarm, slice_of(bad->bad.text));
}

enum err cert_trust_load(const char *data, const char *file, struct why *why)
{
    struct trust_store made[CERT_TRUST_STORES] = { 0 };
    enum err e = OK;
    for (unsigned i = 0; i < CERT_TRUST_STORES && e == OK; i++)
        e = trust_store_load(&made[i], data, file, i, &stores[i], why); /* main's own */
    const struct tls_trust *was = stores[CERT_TRUST_FEDERATION].with_system;
    struct tls_trust *next = made[CERT_TRUST_FEDERATION].with_system;
    if (e == OK && was != NULL && next != NULL && tls_trust_is_prepared(was))
        tls_trust_prepare(next); /* here no worker waits for it */
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < CERT_TRUST_STORES && e == OK; i++) {
        struct trust_store old = stores[i];
        stores[i] = made[i];
        made[i] = old;
        trust_publish(i);
    }
    pthread_mutex_unlock(&lock);
    if (e == OK)
        trust_tell_bad();
    for (unsigned i = 0; i < CERT_TRUST_STORES; i++)
        trust_store_free(&made[i]); /* those of before, or what was read in vain */
    return e;
}

enum err cert_trust_check(const char *data, const char *file, struct why *why)
{
    const struct trust_store nothing = { 0 };
    enum err e = OK;
    for (unsigned i = 0; i < CERT_TRUST_STORES && e == OK; i++) {
        struct trust_store read;
        e = trust_store_load(&read, data, file, i, &nothing, why);
        if (e != OK)
            continue;
        if (read.bad_count > 0) {
            *why = read.bad;
            e = E_SYNTAX;
        }
        trust_store_free(&read);
    }
    return e;
}

static void trust_system_changed(struct worker *w, const struct setting *s)
{
    (void)s;
    if (!duty_is_here(w, DUTY_CERTS))
        return;
    pthread_mutex_lock(&lock);
    trust_publish(CERT_TRUST_FEDERATION);
    pthread_mutex_unlock(&lock);
}

void cert_trust_end(void)
{
    ensure(worker_here() == NULL);
    for (unsigned i = 0; i < CERT_TRUST_STORES; i++) {
        tls_trusted_set(&trusted[i], NULL);
        trust_store_free(&stores[i]);
        stores[i] = (struct trust_store){ 0 };
    }
}

void cert_trust_each(void (*fn)(const struct tls_cert_facts *facts, void *arg), void *arg)
{
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < CERT_TRUST_STORES; i++)
        for (size_t k = 0; k < stores[i].count; k++)
            fn(&stores[i].entry[k].facts, arg);
    pthread_mutex_unlock(&lock);
}

/* Of all lists of revoked certificates, the file of that which becomes old first; NULL: none does.
 * With the lock. */
static const struct trust_crl *trust_first_crl(void)
{
    const struct trust_crl *first = NULL;
    for (unsigned i = 0; i < CERT_TRUST_STORES; i++)
        for (size_t k = 0; k < stores[i].crl_count; k++) {
            const struct trust_crl *c = &stores[i].crl[k];
            if (c->facts.next_update > 0 &&
                (first == NULL || c->facts.next_update < first->facts.next_update))
                first = c;
        }
    return first;
}

/* A list is made anew each few days, so nothing is said before it is old. With the lock. */
static void trust_tell(const struct trust_entry *cert, const struct trust_crl *crl, int64_t now,
                       int64_t notice_days)
{
    int64_t days = cert != NULL ? cert_days_left(&cert->facts, now) : notice_days;
    struct arena *arena = arena_create(0);
    if (days < notice_days)
        alarm_raise_as(&trust_alarm, days < 0 ? ALARM_ERROR : ALARM_WARNING,
                       slice_of(arena_printf(arena, "%s: %s%s", cert->facts.subject,
                                             cert_days_print(days).text, days < 0 ? "" : " left")));
    else if (crl != NULL && crl->facts.next_update < now)
        alarm_raise_as(&trust_alarm, ALARM_WARNING,
                       slice_of(arena_printf(arena, "%s: the list of revoked certificates is old",
                                             crl->path)));
    else
        alarm_clear(&trust_alarm);
    arena_destroy(&arena);
}

int64_t cert_trust_look(int64_t now, int64_t notice_days)
{
    const struct trust_entry *first = NULL;
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < CERT_TRUST_STORES; i++)
        for (size_t k = 0; k < stores[i].count; k++)
            if (first == NULL || stores[i].entry[k].facts.not_after < first->facts.not_after)
                first = &stores[i].entry[k];
    int64_t at = first != NULL ? first->facts.not_after : INT64_MAX;
    trust_tell(first, trust_first_crl(), now, notice_days);
    pthread_mutex_unlock(&lock);
    return at;
}

/* The commands. Those that change something are done on a helper thread and then reload. */

struct trust_job {
    struct work work;
    struct command_call *call;
    enum err (*run)(struct trust_job *j, struct why *why);
    const char *data, *folder;
    unsigned store;
    const char *answer;
    struct why why;
    enum err err;
};

static void trust_job_work(struct work *work)
{
    struct trust_job *j = CONTAINER_OF(work, struct trust_job, work);
    struct node_file *file = NULL; /* a mistake in it would keep the change from being applied */
    pthread_mutex_lock(&files_lock);
    j->err = cert_store_node_file(&file, &j->why);
    node_file_free(&file);
    if (j->err == OK)
        j->err = j->run(j, &j->why);
    pthread_mutex_unlock(&files_lock);
}

static void trust_job_done(struct work *work)
{
    struct trust_job *j = CONTAINER_OF(work, struct trust_job, work);
    if (j->err == OK)
        reload_for(j->call, j->answer, "the trust store has changed");
    else
        command_fail(j->call, j->err, "%s", j->why.text);
}

static void trust_submit(struct command_call *call,
                         enum err (*run)(struct trust_job *j, struct why *why))
{
    const struct worker *w = call->worker;
    struct trust_job *j = arena_new(call->arena, struct trust_job, 1);
    *j =
        (struct trust_job){ .work = { .run = trust_job_work, .done = trust_job_done },
                            .call = call,
                            .run = run,
                            .data = worker_node(w)->data,
                            .store = (unsigned)command_number(call, "for", CERT_TRUST_FEDERATION) };
    ensure(j->store < CERT_TRUST_STORES);
    j->folder = trust_folder(call->arena, j->data, j->store);
    if (work_submit(worker_work(w), worker_loop(w), &j->work) != OK)
        command_fail(call, E_AGAIN, "all helper threads are busy; try again");
}

/* Refuses what would never be used. */
static enum err trust_check(const struct tls_cert_facts *f, const char *path, struct why *why)
{
    int64_t now = (int64_t)(clock_wall_us() / 1000000);
    const char *wrong = now > f->not_after    ? "has expired"
                        : now < f->not_before ? "is not valid yet"
                        : f->weak_key         ? "has a weak key, allowed: RSA of 2048 bits and up"
                        : f->weak_signature   ? "has a weak signature, allowed: SHA-256 and up"
                                              : NULL;
    if (wrong == NULL)
        return OK;
    why_set(why, "%s: the certificate \"%s\" %s", path, f->subject, wrong);
    return E_AUTH;
}

/* Whether it is the first of those in the file that are the same. */
static bool trust_is_first(const struct tls_chain *chain, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (strcmp(chain->item[i].fingerprint, chain->item[at].fingerprint) == 0)
            return false;
    return true;
}

/* All of them or nothing. */
static enum err trust_write(const struct trust_job *j, const struct tls_chain *chain,
                            struct why *why)
{
    struct arena *arena = j->call->arena;
    struct cert_file *file = arena_new(arena, struct cert_file, chain->count);
    size_t count = 0;
    for (size_t i = 0; i < chain->count; i++)
        if (trust_is_first(chain, i))
            file[count++] = (struct cert_file){ arena_printf(arena, "%s/%s.pem", j->folder,
                                                             chain->item[i].fingerprint),
                                                slice_of(chain->item[i].pem) };
    enum err e = durable_folder(arena_printf(arena, "%s/trust", j->data), 0700, why);
    if (e == OK)
        e = durable_folder(j->folder, 0700, why);
    return e == OK ? cert_store_replace(file, count, why) : e;
}

/* With the lock. NULL: there is none. */
static const struct trust_entry *trust_entry_of(unsigned store, const char *fingerprint)
{
    for (size_t i = 0; i < stores[store].count; i++)
        if (strcmp(stores[store].entry[i].facts.fingerprint, fingerprint) == 0)
            return &stores[store].entry[i];
    return NULL;
}

/* Certificates that are there already count once. */
static enum err trust_has_room(unsigned store, const struct tls_chain *chain, const char *path,
                               struct why *why)
{
    size_t more = 0;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < chain->count; i++) {
        bool had = trust_entry_of(store, chain->item[i].fingerprint) != NULL;
        more += !had && trust_is_first(chain, i);
    }
    size_t there = stores[store].count;
    pthread_mutex_unlock(&lock);
    if (more <= TLS_TRUST_MAX - there)
        return OK;
    why_set(why,
            "%s: found %zu certificates that are new, beside %zu that are trusted; allowed "
            "are %d",
            path, more, there, TLS_TRUST_MAX);
    return E_LIMIT;
}

/* Of these certificates, or of those of them that are trusted already. */
static slice trust_note(const struct trust_job *j, const struct tls_chain *chain, bool there)
{
    struct buf out;
    buf_init(&out, COMMAND_CHANGED_MAX + CERT_NOTE_MAX);
    for (size_t i = 0; i < chain->count && out.len < COMMAND_CHANGED_MAX; i++)
        if (trust_is_first(chain, i) &&
            (!there || trust_entry_of(j->store, chain->item[i].fingerprint) != NULL))
            cert_note(&out, "for", store_names[j->store], &chain->item[i]);
    slice text = slice_dup(j->call->arena, buf_fit(&out));
    buf_fini(&out);
    return text;
}

static enum err trust_store_chain(const struct trust_job *j, const struct tls_chain *chain,
                                  struct why *why)
{
    pthread_mutex_lock(&lock);
    slice before = trust_note(j, chain, true);
    pthread_mutex_unlock(&lock);
    enum err e = trust_write(j, chain, why);
    if (e == OK)
        command_changed(j->call, before, trust_note(j, chain, false));
    return e;
}

static enum err trust_add(struct trust_job *j, struct why *why)
{
    struct arena *arena = j->call->arena;
    const char *path = slice_cstr(arena, command_arg(j->call, "file"));
    struct tls_chain chain;
    struct buf pem;
    buf_init(&pem, TLS_PEM_BYTES_MAX);
    enum err e = cert_store_read_given(&pem, path, why);
    if (e == OK)
        e = tls_chain_of_pem(&chain, buf_fit(&pem), TLS_TRUST_MAX, path, arena, why);
    buf_fini(&pem);
    if (e == OK)
        e = trust_has_room(j->store, &chain, path, why);
    for (size_t i = 0; e == OK && i < chain.count; i++)
        e = trust_check(&chain.item[i], path, why);
    j->answer = arena_printf(arena, "trusted for %s:", store_names[j->store]);
    for (size_t i = 0; e == OK && i < chain.count; i++)
        j->answer = arena_printf(arena, "%s\n%s  %s", j->answer, chain.item[i].fingerprint,
                                 chain.item[i].subject);
    return e == OK ? trust_store_chain(j, &chain, why) : e;
}

/* As openssl(1) writes it, too: in capitals, with colons. */
static const char *plain_fingerprint(struct arena *arena, slice text)
{
    char *out = arena_alloc(arena, 1, text.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] != ':')
            out[len++] = text.ptr[i] >= 'A' && text.ptr[i] <= 'F' ? (char)(text.ptr[i] - 'A' + 'a')
                                                                  : text.ptr[i];
    return out;
}

static bool is_fingerprint(slice text)
{
    size_t digits = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == ':')
            continue;
        if (strchr("0123456789abcdefABCDEF", text.ptr[i]) == NULL)
            return false;
        digits++;
    }
    return digits == FINGERPRINT_LEN;
}

/* In the arena; NULL: there is none. *in_file: how many certificates are in it. *note: of the
 * certificate. */
static const char *trust_file(const struct trust_job *j, const char *fingerprint, size_t *in_file,
                              slice *note)
{
    const char *path = NULL;
    struct arena *arena = j->call->arena;
    pthread_mutex_lock(&lock);
    const struct trust_entry *entry = trust_entry_of(j->store, fingerprint);
    if (entry != NULL) {
        path = slice_cstr(arena, slice_of(entry->path));
        *in_file = entry->in_file;
        *note = trust_note(j, &(struct tls_chain){ &entry->facts, 1 }, false);
    }
    pthread_mutex_unlock(&lock);
    return path;
}

static enum err trust_del(struct trust_job *j, struct why *why)
{
    struct arena *arena = j->call->arena;
    size_t in_file = 0;
    slice note;
    const char *fingerprint = plain_fingerprint(arena, command_arg(j->call, "fingerprint"));
    const char *path = trust_file(j, fingerprint, &in_file, &note);
    if (path == NULL || in_file > 1) {
        if (path == NULL)
            why_set(why,
                    "found no certificate %s that is trusted for %s; `cert-trust list` shows "
                    "them",
                    fingerprint, store_names[j->store]);
        else
            why_set(why,
                    "%s: has %zu certificates; take this one out and run `musterctl server "
                    "reload`",
                    path, in_file);
        return path == NULL ? E_NOTFOUND : E_CONFLICT;
    }
    j->answer = arena_printf(arena, "%s is not trusted for %s any more", fingerprint,
                             store_names[j->store]);
    if (unlink(path) != 0)
        return durable_failed(why, path, errno);
    command_changed(j->call, note, SLICE(""));
    return durable_sync_folder(j->folder, why);
}

static void trust_run_add(struct command_call *call)
{
    if (command_number(call, "for", CERT_TRUST_FEDERATION) == CERT_TRUST_CLIENTS)
        command_idle_while_off(call, "c2s.certificate-login", "on");
    trust_submit(call, trust_add);
}
static void trust_run_del(struct command_call *call) { trust_submit(call, trust_del); }

static void trust_add_row(struct command_call *call, unsigned store, const struct trust_entry *e)
{
    int64_t now = (int64_t)(clock_wall_us() / 1000000);
    char stamp[CLOCK_STAMP_LEN] = "";
    if (e->facts.not_after > 0)
        clock_stamp(stamp, (uint64_t)e->facts.not_after * 1000000);
    command_row(call);
    command_text(call, "for", slice_of(store_names[store]));
    command_text(call, "kind", SLICE("certificate"));
    command_text(call, "subject", slice_of(e->facts.subject));
    command_text(call, "issuer", slice_of(e->facts.issuer));
    command_text(call, "not_after", slice_of(stamp));
    command_int(call, "days_left", cert_days_left(&e->facts, now));
    command_bool(call, "authority", e->facts.authority);
    command_text(call, "fingerprint", slice_of(e->facts.fingerprint));
}

static const char *trust_file_name(const char *path)
{
    const char *last = strrchr(path, '/');
    return last != NULL ? last + 1 : path;
}

static void trust_add_crl(struct command_call *call, unsigned store, const struct trust_crl *c)
{
    int64_t now = (int64_t)(clock_wall_us() / 1000000);
    const struct tls_cert_facts dates = { .not_after = c->facts.next_update };
    char stamp[CLOCK_STAMP_LEN] = "";
    if (dates.not_after > 0)
        clock_stamp(stamp, (uint64_t)dates.not_after * 1000000);
    command_row(call);
    command_text(call, "for", slice_of(store_names[store]));
    command_text(call, "kind", SLICE("revoked"));
    command_text(
        call, "subject",
        slice_of(arena_printf(call->arena, "revoked certificates of %s: %u (%s)", c->facts.issuer,
                              c->facts.revoked, trust_file_name(c->path))));
    command_text(call, "issuer", slice_dup(call->arena, slice_of(c->facts.issuer)));
    command_text(call, "not_after", slice_of(stamp));
    if (dates.not_after > 0)
        command_int(call, "days_left", cert_days_left(&dates, now));
    command_text(call, "file", slice_dup(call->arena, slice_of(c->path)));
}

static void trust_run_list(struct command_call *call)
{
    int64_t only = command_number(call, "for", CERT_TRUST_STORES);
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < CERT_TRUST_STORES; i++)
        for (size_t k = 0; (only == CERT_TRUST_STORES || only == i) && k < stores[i].count; k++)
            trust_add_row(call, i, &stores[i].entry[k]);
    for (unsigned i = 0; i < CERT_TRUST_STORES; i++)
        for (size_t k = 0; (only == CERT_TRUST_STORES || only == i) && k < stores[i].crl_count; k++)
            trust_add_crl(call, i, &stores[i].crl[k]);
    pthread_mutex_unlock(&lock);
    command_done(call, "%s", "");
}

#define FOR_ARG(missing)                                                                           \
    {                                                                                              \
        .name = "for", .kind = ARG_OPTION, .type = PARAM_CHOICE, .choices = store_names,           \
        .doc =                                                                                     \
            "whose certificates: other servers (federation) or clients; the default is " missing   \
    }

static struct command add_command = {
    .name = "cert-trust add",
    .effect = COMMAND_CHANGES,
    .area = "certificates",
    .access = COMMAND_LOCAL,
    .args =
        (const struct command_arg[]){
            { .name = "file",
              .kind = ARG_POSITIONAL,
              .type = PARAM_PATH,
              .doc = "one or more certificates, PEM: each of them is trusted" },
            FOR_ARG("federation"),
            { 0 },
        },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_CERTS,
    .run = trust_run_add,
    .doc = "Trusts certificates, of authorities or single ones. They are copied to the data folder "
           "and apply to new connections. The node file is read again, too, as by `server "
           "reload`.",
};

static struct command del_command = {
    .name = "cert-trust del",
    .effect = COMMAND_CHANGES,
    .area = "certificates",
    .access = COMMAND_LOCAL,
    .args =
        (const struct command_arg[]){
            { .name = "fingerprint",
              .kind = ARG_POSITIONAL,
              .check = is_fingerprint,
              .form = "the 64 hexadecimal digits of `cert-trust list`",
              .max = 128,
              .doc = "SHA-256 of the certificate, as `cert-trust list` shows it" },
            FOR_ARG("federation"),
            { 0 },
        },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_CERTS,
    .run = trust_run_del,
    .doc = "Stops trusting a certificate. Connections that are there stay.",
};

static struct command list_command = {
    .name = "cert-trust list",
    .rest = "GET /certificates/trust",
    .effect = COMMAND_READS,
    .area = "certificates",
    .args = (const struct command_arg[]){ FOR_ARG("both"), { 0 } },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_CERTS,
    .run = trust_run_list,
    .doc = "Lists the certificates of the trust stores. Those of the operating "
           "system, which cert.trust-system is about, are not in it.",
    .columns =
        (const struct command_column[]){
            { .name = "for", .doc = "federation or clients" },
            { .name = "kind",
              .wide = true,
              .doc = "certificate, or revoked: a list of revoked certificates (*.crl)" },
            { .name = "subject",
              .doc = "its subject; of a list: its authority, how many certificates it revokes, "
                     "and its file" },
            { .name = "issuer", .wide = true, .doc = "who issued it" },
            { .name = "not_after", .wide = true, .type = PARAM_STAMP, .doc = "valid until" },
            { .name = "days_left",
              .optional = true,
              .type = PARAM_INT,
              .unit = "days",
              .doc = "days until it expires; below zero: it has expired" },
            { .name = "authority",
              .optional = true,
              .type = PARAM_BOOL,
              .doc = "whether it may issue certificates" },
            { .name = "fingerprint", .optional = true, .doc = "SHA-256 of the certificate" },
            { .name = "file", .optional = true, .wide = true, .doc = "of a list: its file" },
            { 0 } },
};

const struct feature cert_trust_feature = {
    .name = "cert-trust",
    .settings = (struct setting *const[]){ &trust_system, NULL },
    .commands = (struct command *const[]){ &add_command, &del_command, &list_command, NULL },
    .alarms = (struct alarm *const[]){ &trust_alarm, &file_alarm, NULL },
};
