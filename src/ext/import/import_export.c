#include "ext/import/import_export.h"
#include "auth/credentials.h"
#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/pie.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "core/portable.h"
#include "ext/import/import_user.h"
#include "home/here.h"
#include "home/node.h"
#include "io/work.h"
#include "ops/jobs.h"
#include "ops/unserved.h"
#include "store/store.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <unistd.h>

enum { KEY_TEXT_MAX = 128 /* base64 of a key or a salt */, LEFT_ROWS_MAX = 1000 };
enum { WRITE_BYTES = 1 << 20, PIECE_BYTES = 16 << 20 };
enum { OUT_BYTES_MAX = PIE_ELEMENT_MAX + 2 * WRITE_BYTES, PARTS_MAX = 32 };

struct export
{
    struct work work;
    struct command_call *call;
    uint64_t job;
    struct worker *worker;
    const char *path;
    int fd;               /* -1: not open */
    int error;            /* of the file; 0: none */
    bool ends;            /* behind what is in `out` there is nothing */
    const char *canceled; /* as job_canceled() */
    struct buf out;       /* what a helper writes next */
    size_t begun;         /* where the account begins in it */
    struct xml_write x;
    struct arena *arena, *page; /* of an account; of the page */
    unsigned domain;            /* of the node's, the one under way */
    slice only;                 /* the only one; empty: all */
    struct credentials_row *rows;
    uint32_t row, row_count;
    struct portable_out user;
    unsigned part_at[PARTS_MAX];
    bool pieces;   /* what comes in pieces is read; then the rest */
    bool goes_on;  /* the account does, in another <user/> */
    bool apart;    /* the rest one after the other: at once it is more than a read may give */
    unsigned part; /* of it; PARTS_MAX: all are read at once */
    bool has_keys; /* the keys are written */
    uint64_t users, left;
    struct unserved unserved; /* left out, too */
};

static atomic_bool export_under_way;

/* On a helper thread. */

static void export_write_run(struct work *w)
{
    struct export *x = CONTAINER_OF(w, struct export, work);
    if (x->fd < 0)
        x->fd = open(x->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (x->fd < 0) {
        x->error = errno;
        return;
    }
    for (size_t at = 0; at < x->out.len && x->error == 0;) {
        ssize_t n = write(x->fd, x->out.ptr + at, x->out.len - at);
        if (n >= 0)
            at += (size_t)n;
        else if (errno != EINTR)
            x->error = errno;
    }
    if (x->ends && x->error == 0 && fsync(x->fd) != 0)
        x->error = errno;
    if (!x->ends && x->error == 0)
        return;
    close(x->fd);
    if (x->error != 0)
        unlink(x->path);
}

/* A file that is not complete goes. */
static void export_discard_run(struct work *w)
{
    struct export *x = CONTAINER_OF(w, struct export, work);
    if (x->fd < 0)
        return;
    close(x->fd);
    unlink(x->path);
}

/* On x->worker. */

static void export_pie_free(struct export *x)
{
    arena_destroy(&x->arena);
    arena_destroy(&x->page);
    buf_fini(&x->out);
    mem_free(&x);
}

static void export_discarded(struct work *w)
{
    struct export *x = CONTAINER_OF(w, struct export, work);
    atomic_store(&export_under_way, false);
    if (x->canceled != NULL)
        command_fail(x->call, E_CANCELED, "%s; no file was written", x->canceled);
    else
        command_fail(x->call, E_DOWN, "the accounts cannot be read, and no file was written: %s",
                     err_text(E_DOWN));
    export_pie_free(x);
}

static void export_discard(struct export *x)
{
    x->work.run = export_discard_run;
    x->work.done = export_discarded;
    if (work_submit(worker_work(x->worker), worker_loop(x->worker), &x->work) == OK)
        return;
    export_discard_run(&x->work); /* the helpers are overloaded */
    export_discarded(&x->work);
}

static void export_next(struct export *x);

static void export_report(const struct export *x)
{
    const char *unserved = "", *written = arena_printf(x->call->arena, "users written: %llu",
                                                       (unsigned long long)x->users);
    if (x->unserved.accounts > 0)
        unserved = arena_printf(x->call->arena,
                                "; users of domains that this node does not serve, and left out: "
                                "%lld (%s); add these domains to `domains` in the node file to "
                                "export them",
                                (long long)x->unserved.accounts, x->unserved.names);
    if (x->left > 0)
        command_fail(x->call, x->users > 0 ? E_PART : E_LIMIT,
                     "%s; users that are too large, and left out: %llu%s", written,
                     (unsigned long long)x->left, unserved);
    else
        command_done(x->call, "%s%s", written, unserved);
}

static void export_written(struct work *w)
{
    struct export *x = CONTAINER_OF(w, struct export, work);
    buf_clear(&x->out);
    if (x->error == 0 && !x->ends) {
        export_next(x);
        return;
    }
    atomic_store(&export_under_way, false);
    if (x->error != 0)
        command_fail(x->call, x->error == EEXIST ? E_EXISTS : E_IO, "%s: %s", x->path,
                     strerror(x->error));
    else
        export_report(x);
    export_pie_free(x);
}

static void export_write(struct export *x)
{
    x->work.run = export_write_run;
    x->work.done = export_written;
    if (work_submit(worker_work(x->worker), worker_loop(x->worker), &x->work) != OK)
        export_discard(x);
}

/* An account. */

static void give_base64(struct xml_write *x, const char *name, const uint8_t *bytes, size_t len)
{
    struct buf text;
    buf_init(&text, KEY_TEXT_MAX);
    base64_encode(&text, (slice){ (const char *)bytes, len });
    xml_element(x, name, buf_fit(&text));
    buf_fini(&text);
}

static void give_keys(struct export *x, const struct store_batch *b)
{
    static const char *const names[SCRAM_HASH_COUNT] = { "SCRAM-SHA-1", "SCRAM-SHA-256",
                                                         "SCRAM-SHA-512" };
    struct scram_keys k;
    enum scram_hash h;
    for (uint32_t i = 0; i < store_row_count(b, 0); i++) {
        if (!credentials_row_keys(b, 0, i, &h, &k))
            continue;
        xml_open_with(&x->x, "scram-credentials", NS_PIE_SCRAM, "mechanism", slice_of(names[h]));
        xml_element_int(&x->x, "iter-count", k.iterations);
        give_base64(&x->x, "salt", k.salt, k.salt_len);
        give_base64(&x->x, "server-key", k.server_key, scram_hash_len(h));
        give_base64(&x->x, "stored-key", k.stored_key, scram_hash_len(h));
        if (k.two_forms) {
            xml_open(&x->x, "other-form", NS_PIE_MORE);
            give_base64(&x->x, "server-key", k.other_server, scram_hash_len(h));
            give_base64(&x->x, "stored-key", k.other_stored, scram_hash_len(h));
            xml_close(&x->x);
        }
        xml_close(&x->x);
    }
    mem_wipe(&k, sizeof k);
}

/* The account goes, what is before it stays. */
static void export_leave_out(struct export *x)
{
    x->out.overflow = false;
    x->out.len = x->begun;
    if (++x->left > LEFT_ROWS_MAX)
        return;
    command_row(x->call);
    command_text(x->call, "user", slice_dup(x->call->arena, x->user.jid));
    command_text(x->call, "what",
                 slice_of(arena_printf(
                     x->call->arena,
                     "left out: beside its archive it has more than %d MiB, or a part of that has "
                     "more than %d MiB, such as items of PEP (`set pep.bytes-max`); move the whole "
                     "server instead (`backup create`, `musterd --copy-to`)",
                     PIE_ELEMENT_MAX >> 20, STORE_RESULT_BYTES_MAX >> 20)));
}

static void export_user_end(struct export *x)
{
    xml_close(&x->x);
    ensure(x->x.depth == 2); /* in <host/> */
    buf_lit(&x->out, "\n");
    x->users += !x->out.overflow;
    if (x->out.overflow)
        export_leave_out(x);
    x->row++;
    if (x->out.len >= WRITE_BYTES)
        export_write(x);
    else
        export_next(x);
}

static void export_read(struct export *x);

/* The next of the rest that gives something, from `at` on. PARTS_MAX: there is none. */
static unsigned export_part(unsigned at)
{
    unsigned i = 0;
    FEATURES_EACH (f, portable) {
        if (i >= at && f->portable->read != NULL && !f->portable->in_pieces)
            return i;
        i++;
    }
    return PARTS_MAX;
}

static bool export_asks(const struct export *x, const struct portable_part *p, unsigned i)
{
    return p->read != NULL && p->in_pieces == x->pieces &&
           (x->pieces || x->part == PARTS_MAX || x->part == i);
}

static void export_user_open(struct export *x)
{
    x->begun = x->out.len;
    xml_open_with(&x->x, "user", NULL, "name", jid_split(x->user.jid).local);
}

/* Whoever reads the account needs no more memory than for a piece of its archive. */
static void export_cut(struct export *x)
{
    xml_empty(&x->x, "continues", NS_PIE_MORE);
    xml_close(&x->x);
    buf_lit(&x->out, "\n");
    x->goes_on = true;
    export_write(x);
}

static void export_head(struct export *x, const struct store_batch *b)
{
    if (x->pieces || x->has_keys)
        return;
    if (x->rows[x->row].disabled)
        xml_empty(&x->x, "disabled", NS_PIE_MORE);
    give_keys(x, b);
    x->has_keys = true;
}

/* true: what comes in pieces has more. */
static bool export_give(struct export *x, const struct store_batch *b)
{
    bool more = false;
    unsigned i = 0;
    export_head(x, b);
    FEATURES_EACH (f, portable) {
        if (export_asks(x, f->portable, i))
            more |= f->portable->give(&x->user, b, x->part_at[i]);
        i++;
    }
    ensure(!more || x->pieces);
    return more;
}

/* Asks for less, since a read may not give as much. false: it did so already. */
static bool export_ask_less(struct export *x)
{
    if (x->pieces) {
        x->user.rows /= 2;
        return x->user.rows > 0;
    }
    bool less = !x->apart;
    x->apart = true;
    x->part = export_part(0);
    return less;
}

static void export_given(struct export *x, bool more)
{
    if (x->pieces)
        x->user.rows = x->user.rows < PORTABLE_ROWS ? 2 * x->user.rows : PORTABLE_ROWS;
    else if (x->apart)
        x->part = export_part(x->part + 1);
    bool last = !x->pieces && x->part == PARTS_MAX;
    x->pieces = more;
    if (last || x->out.overflow)
        export_user_end(x);
    else if (more && x->out.len - x->begun >= PIECE_BYTES)
        export_cut(x);
    else
        export_read(x);
}

static void export_user_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct export *x = arg;
    ensure(worker_is_here(x->worker) && x->row < x->row_count);
    if (result == STORE_OK) {
        export_given(x, export_give(x, b));
    } else if (result != STORE_CONFLICT) {
        export_discard(x);
    } else if (export_ask_less(x)) {
        export_read(x);
    } else {
        x->out.overflow = true;
        export_user_end(x);
    }
}

static void export_read(struct export *x)
{
    struct store_batch *b = store_read(worker_store(x->worker), credentials_lane(x->user.jid));
    unsigned i = 0;
    if (!x->pieces && !x->has_keys)
        credentials_read(b, x->user.id);
    FEATURES_EACH (f, portable) {
        ensure(i < PARTS_MAX);
        x->part_at[i] = store_stmt_count(b);
        if (export_asks(x, f->portable, i))
            f->portable->read(&x->user, b);
        i++;
    }
    store_submit(b, worker_loop(x->worker), 0, export_user_read, x);
}

static void export_user(struct export *x, const struct credentials_row *row)
{
    arena_reset(x->arena);
    if (!x->goes_on) {
        x->pieces = true;
        x->apart = x->has_keys = false;
        x->part = PARTS_MAX;
        x->user = (struct portable_out){
            .jid = row->jid, .id = row->account, .x = &x->x, .tmp = x->arena, .rows = PORTABLE_ROWS
        };
    }
    x->goes_on = false;
    export_user_open(x);
    export_read(x);
}

/* Domains, pages of accounts. */

static void export_end(struct export *x)
{
    xml_close_all(&x->x);
    buf_lit(&x->out, "\n");
    x->ends = true;
    export_write(x);
}

static void export_unserved_counted(void *arg, enum store_result result,
                                    const struct store_batch *b)
{
    struct export *x = arg;
    ensure(worker_is_here(x->worker) && x->only.len == 0);
    if (result != STORE_OK) {
        export_discard(x);
        return;
    }
    unserved_add_accounts(&x->unserved, b, 0);
    export_end(x);
}

static slice export_domain(const struct export *x)
{
    const struct node *n = worker_node(x->worker);
    return x->only.len > 0 ? x->only : n->domains[x->domain];
}

static void export_page(void *arg, enum err e, const struct credentials_row *rows, uint32_t count)
{
    struct export *x = arg;
    ensure(!x->ends && count <= CREDENTIALS_PAGE_MAX);
    if (e != OK) {
        export_discard(x);
        return;
    }
    arena_reset(x->page);
    x->rows = arena_new(x->page, struct credentials_row, count + 1);
    for (uint32_t i = 0; i < count; i++) {
        x->rows[i] = rows[i];
        x->rows[i].jid = slice_dup(x->page, rows[i].jid);
    }
    x->row = 0;
    x->row_count = count;
    if (count > 0) {
        export_next(x);
        return;
    }
    xml_close(&x->x); /* host */
    buf_lit(&x->out, "\n");
    x->row_count = UINT32_MAX;
    if (x->only.len == 0 && ++x->domain < worker_node(x->worker)->domain_count) {
        export_next(x);
        return;
    }
    if (x->only.len > 0) {
        export_end(x);
        return;
    }
    struct store_batch *b = store_read(worker_store(x->worker), 0);
    unserved_count(b, worker_node(x->worker));
    store_submit(b, worker_loop(x->worker), 0, export_unserved_counted, x);
}

/* The next account, or page, or domain (row_count UINT32_MAX). */
static void export_next(struct export *x)
{
    slice domain = export_domain(x), after = { 0 };
    x->canceled = job_canceled(x->job);
    if (x->canceled != NULL) {
        export_discard(x);
        return;
    }
    job_tell(x->job, "users written: %llu", (unsigned long long)x->users);
    if (x->row_count != UINT32_MAX && x->row < x->row_count) {
        export_user(x, &x->rows[x->row]);
        return;
    }
    if (x->row_count == UINT32_MAX)
        xml_open_with(&x->x, "host", NULL, "jid", domain);
    else
        after = x->rows[x->row_count - 1].jid;
    (void)xml_content(&x->x);
    buf_lit(&x->out, "\n");
    credentials_list(worker_auth(x->worker), domain, after, export_page, x);
}

static void run_export_pie(struct command_call *call)
{
    if (atomic_exchange(&export_under_way, true)) {
        command_fail(call, E_AGAIN, "an export is under way already; try again later");
        return;
    }
    struct export *x = mem_new(struct export);
    x->call = call;
    x->job = job_begin(call);
    x->worker = call->worker;
    x->path = slice_cstr(call->arena, command_arg(call, "file"));
    x->only = command_arg(call, "domain");
    x->fd = -1;
    x->arena = arena_create(0);
    x->page = arena_create(0);
    x->row_count = UINT32_MAX;
    xml_begin(&x->x, &x->out, OUT_BYTES_MAX);
    buf_lit(&x->out, "<?xml version='1.0' encoding='UTF-8'?>\n");
    xml_open(&x->x, "server-data", NS_PIE);
    export_next(x);
}

static const struct command_arg args[] = {
    { .name = "file",
      .kind = ARG_POSITIONAL,
      .type = PARAM_PATH,
      .check = param_is_absolute,
      .form = PARAM_ABSOLUTE,
      .doc = "file to make on the server's host; it must not exist" },
    { .name = "domain",
      .kind = ARG_OPTIONAL,
      .type = PARAM_HOME_DOMAIN,
      .doc = "only accounts of this domain" },
    { 0 },
};
struct command export_pie_command = {
    .name = "export xep0227",
    .effect = COMMAND_CHANGES,
    .area = "users",
    .access = COMMAND_LOCAL,
    .job = true,
    .args = args,
    .run = run_export_pie,
    .doc =
        "Writes accounts to a file of XEP-0227: what `import xep0227` reads, keys, contacts, "
        "vCards, blocks and privacy lists, private data, PEP nodes, messages. Only the user of "
        "the server can read the file. It has keys with which passwords can be guessed. An account "
        "whose PEP items are more than `import` reads is left out: the command then fails and "
        "names it, and the others are written.",
    .columns = (const struct command_column[]){ { .name = "user", .doc = "its address" },
                                                { .name = "what", .doc = "why it was left out" },
                                                { 0 } },
    .report = true,
};
