#include "ext/upload/upload_http.h"
#include "account/account.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/durable.h"
#include "base/ensure.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/setting.h"
#include "codec/http_read.h"
#include "ext/upload/upload.h"
#include "ext/upload/upload_files.h"
#include "ext/upload/upload_private.h"
#include "ext/upload/upload_rows.h"
#include "ext/upload/upload_type.h"
#include "home/here.h"
#include "http/parse.h"
#include "io/work.h"
#include "store/store.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

enum {
    READ_BYTES = 128 << 10,
    PIECE_BYTES = 256 << 10,
    PIECE_BYTES_MAX = 4 << 20,
    HEADERS_BYTES_MAX = 16384,
    UNDERWAY_MAX = 32,
    SPARE_BYTES = 64 << 20, /* files leave free; or, of a small file system: */
    SPARE_SHARE = 16
};
#define BODY_MAX (4ull << 30)
static const uint64_t day_us = 86400ull * 1000000;

/* One step on a file. */
enum step { STEP_CREATE, STEP_WRITE, STEP_FLUSH, STEP_PLACE, STEP_OPEN, STEP_READ, STEP_NONE };

/* An upload or download. Freed when the client has its answer and no step is running. */
struct transfer {
    struct http_request *r; /* NULL: the client has gone */
    struct worker *worker;
    struct work work;
    struct store_op *op;
    enum step step;
    int error; /* errno of the last step */
    int fd;
    struct buf piece; /* PUT: came, not written yet; GET: read, not sent yet */
    struct buf writing;
    EVP_MD_CTX *sha;
    bool ended;      /* PUT: all of the body is in */
    bool committing; /* PUT: the row is being written: the file has to follow, client or not */
    bool counted;    /* PUT: in `underway` */
    struct upload_slot slot;
    char temp[UPLOAD_PATH_MAX];
    char hash[UPLOAD_HASH_LEN + 1];
    uint64_t at, end; /* GET: next byte, byte behind the last */
    uint64_t size, at_us;
    char text[UPLOAD_NAME_MAX + UPLOAD_TYPE_MAX + 2]; /* of slot.name and slot.type */
};

/* Helper threads. */

/* ENOSPC if the file system would have less free space than is left to the database, which has to
 * grow even for what is deleted. Others may take the space at the same time. */
static int look_for_room(int fd, uint64_t bytes)
{
    struct statvfs v;
    if (fstatvfs(fd, &v) != 0)
        return errno;
    uint64_t size = (uint64_t)v.f_blocks * v.f_frsize, left = (uint64_t)v.f_bavail * v.f_frsize;
    uint64_t spare = size / SPARE_SHARE < SPARE_BYTES ? size / SPARE_SHARE : SPARE_BYTES;
    return left < spare + bytes ? ENOSPC : 0;
}

static int create_temp(struct transfer *t)
{
    if (mkdir(upload_folder(), 0700) != 0 && errno != EEXIST)
        return errno;
    snprintf(t->temp, sizeof t->temp, "%s/tmp", upload_folder());
    if (mkdir(t->temp, 0700) != 0 && errno != EEXIST)
        return errno;
    snprintf(t->temp, sizeof t->temp, "%s/tmp/%s.%p", upload_folder(), t->slot.id, (void *)t);
    t->fd = open(t->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return t->fd < 0 ? errno : look_for_room(t->fd, (uint64_t)t->slot.size);
}

static int write_piece(struct transfer *t)
{
    int error = look_for_room(t->fd, t->writing.len);
    if (error != 0)
        return error;
    EVP_DigestUpdate(t->sha, t->writing.ptr, t->writing.len);
    return durable_write_all(t->fd, buf_slice(&t->writing)); /* fits: it came in pieces */
}

static int upload_http_flush(struct transfer *t)
{
    unsigned char sha[SHA256_DIGEST_LENGTH];
    EVP_DigestFinal_ex(t->sha, sha, NULL);
    hex_encode(t->hash, (slice){ (const char *)sha, sizeof sha });
    if (fsync(t->fd) != 0)
        return errno;
    int error = close(t->fd) != 0 ? errno : 0;
    t->fd = -1;
    return error;
}

static int upload_http_place(struct transfer *t) { return upload_place(t->temp, t->hash); }

static int open_blob(struct transfer *t)
{
    char path[UPLOAD_PATH_MAX];
    upload_blob_path(path, t->hash);
    t->fd = open(path, O_RDONLY | O_CLOEXEC);
    return t->fd < 0 ? errno : 0;
}

static int upload_http_read_piece(struct transfer *t)
{
    uint64_t left = t->end - t->at;
    size_t want = left < READ_BYTES ? (size_t)left : READ_BYTES;
    buf_clear(&t->piece);
    char *at = buf_reserve(&t->piece, want);
    ssize_t n = pread(t->fd, at, want, (off_t)t->at);
    if (n <= 0)
        return n == 0 ? EIO : errno;
    t->piece.len = (size_t)n;
    t->at += (uint64_t)n;
    return 0;
}

static void upload_http_run_step(struct work *w)
{
    static int (*const table[])(struct transfer * t) = {
        [STEP_CREATE] = create_temp,      [STEP_WRITE] = write_piece,
        [STEP_FLUSH] = upload_http_flush, [STEP_PLACE] = upload_http_place,
        [STEP_OPEN] = open_blob,          [STEP_READ] = upload_http_read_piece,
    };
    struct transfer *t = CONTAINER_OF(w, struct transfer, work);
    ensure(t->step != STEP_NONE && table[t->step] != NULL);
    t->error = table[t->step](t);
}

/* Uploads in progress of each account, on all workers. */

struct underway {
    int64_t owner, bytes;
    unsigned count;
};
static pthread_mutex_t underway_lock = PTHREAD_MUTEX_INITIALIZER;
static struct map underway; /* by owner; under the lock */

static slice underway_key(const void *item)
{
    return (slice){ (const char *)&((const struct underway *)item)->owner, sizeof(int64_t) };
}

static bool underway_enter(struct transfer *t)
{
    int64_t quota = setting_int(&upload_quota), daily = setting_int(&upload_daily);
    struct underway of = { .owner = t->slot.owner }, *u;
    pthread_mutex_lock(&underway_lock);
    if (underway.key == NULL)
        map_init(&underway, underway_key);
    u = map_get(&underway, underway_key(&of));
    bool room = u == NULL || (u->count < UNDERWAY_MAX &&
                              t->slot.size <= (quota < daily ? quota : daily) - u->bytes);
    if (room && u == NULL) {
        u = mem_new(struct underway);
        *u = of;
        map_put(&underway, u);
    }
    if (room) {
        u->count++;
        u->bytes += t->slot.size;
    }
    pthread_mutex_unlock(&underway_lock);
    t->counted = room;
    return room;
}

static void underway_leave(struct transfer *t)
{
    struct underway of = { .owner = t->slot.owner }, *u;
    if (!t->counted)
        return;
    pthread_mutex_lock(&underway_lock);
    u = map_get(&underway, underway_key(&of));
    ensure(u->count > 0 && u->bytes >= t->slot.size);
    u->bytes -= t->slot.size;
    if (--u->count == 0) {
        map_del(&underway, underway_key(u));
        mem_free(&u);
        if (underway.count == 0)
            map_fini(&underway);
    }
    pthread_mutex_unlock(&underway_lock);
}

/* The worker. */

static void transfer_free(struct transfer *t)
{
    if (t->r != NULL || t->step != STEP_NONE || t->committing)
        return;
    underway_leave(t);
    store_cancel(&t->op);
    if (t->fd >= 0)
        close(t->fd);
    if (t->temp[0] != '\0')
        unlink(t->temp);
    EVP_MD_CTX_free(t->sha);
    buf_fini(&t->piece);
    buf_fini(&t->writing);
    mem_free(&t);
}

/* The answer is complete: nothing more may be sent. */
static void transfer_end(struct transfer *t)
{
    t->r = NULL;
    transfer_free(t);
}

static void answer_end(struct transfer *t, unsigned status, slice text)
{
    if (status >= 400)
        metric_add(&upload_refused, 1);
    if (t->r != NULL)
        http_answer_text(t->r, status, text);
    transfer_end(t);
}

static void disk_failed(struct transfer *t)
{
    const char *why = strerror(t->error);
    log_error(&log_upload, LOG_EV("upload.disk"), LOG_C("why", why));
    alarm_raise(&upload_disk_alarm, slice_of(why));
    bool full = t->error == ENOSPC || t->error == EDQUOT || t->error == EFBIG;
    answer_end(t, full ? 507 : 500,
               full ? SLICE("there is no room for this file\n")
                    : SLICE("the file could not be stored\n"));
}

/* Its row is, or may be, committed, and its content will not come. */
static void put_undo(struct transfer *t)
{
    struct store_batch *b = store_write(worker_store(t->worker), (uint64_t)t->slot.owner);
    STORE_ADD(b, &upload_unref, STORE_ANY_ROWS, SV_T(slice_of(t->slot.id)));
    STORE_ADD(b, &upload_delete, STORE_ANY_ROWS, SV_T(slice_of(t->slot.id)));
    store_submit(b, worker_loop(t->worker), 0, NULL, NULL);
}

static void upload_http_step_done(struct work *w);

/* Nothing may be done with t behind it: it is freed where no helper takes the step. */
static void upload_http_begin_step(struct transfer *t, enum step step)
{
    ensure(worker_is_here(t->worker) && t->step == STEP_NONE);
    t->step = step;
    t->work.run = upload_http_run_step;
    t->work.done = upload_http_step_done;
    if (work_submit(worker_work(t->worker), worker_loop(t->worker), &t->work) == OK)
        return;
    t->step = STEP_NONE;
    if (step == STEP_READ) { /* the header has gone out */
        http_break(t->r);
        transfer_end(t);
    } else {
        if (step == STEP_PLACE)
            put_undo(t);
        answer_end(t, 503, SLICE("too much is going on: try later\n"));
    }
}

/* Nothing is in it and no memory held: the next piece may be long in coming. */
static void piece_release(struct buf *b)
{
    buf_fini(b);
    buf_init(b, PIECE_BYTES_MAX);
}

static struct transfer *transfer_create(struct http_request *r)
{
    struct transfer *t = mem_new(struct transfer);
    t->r = r;
    t->worker = worker_here();
    t->fd = -1;
    t->step = STEP_NONE;
    buf_init(&t->piece, PIECE_BYTES_MAX);
    buf_init(&t->writing, PIECE_BYTES_MAX);
    r->data = t;
    return t;
}

/* PUT. */

static void placed(struct transfer *t)
{
    if (t->error != 0) {
        put_undo(t);
        disk_failed(t);
        return;
    }
    alarm_clear(&upload_disk_alarm);
    metric_add(&upload_stored, t->slot.size);
    metric_add(&upload_stored_files, 1);
    if (t->r != NULL)
        http_answer(t->r, &(struct http_answer){ .status = 201 });
    transfer_end(t);
}

static void refusal_found(void *arg, enum store_result result, const struct store_batch *b)
{
    struct transfer *t = arg;
    ensure(t->op != NULL);
    t->op = NULL;
    if (result != STORE_OK)
        answer_end(t, 503, SLICE("the database does not answer\n"));
    else if (store_row_count(b, 1) == 0)
        answer_end(t, 403, SLICE("there is no such account any more\n"));
    else if (store_row_count(b, 0) > 0)
        answer_end(t, 409, SLICE("the slot was used before: ask for another one\n"));
    else
        answer_end(t, 413,
                   SLICE("you have as many files as you may have, or they take all your room\n"));
}

/* The batch does not say which of its conditions was not met. */
static void find_refusal(struct transfer *t)
{
    struct store_batch *b = store_read(worker_store(t->worker), (uint64_t)t->slot.owner);
    STORE_ADD(b, &upload_find, STORE_ANY_ROWS, SV_T(slice_of(t->slot.id)));
    STORE_ADD(b, &upload_active, STORE_ANY_ROWS, SV_I(t->slot.owner));
    t->op = store_submit(b, worker_loop(t->worker), 0, refusal_found, t);
}

static void upload_http_committed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct transfer *t = arg;
    (void)b;
    ensure(t->op != NULL && t->committing);
    t->op = NULL;
    t->committing = false;
    if (result == STORE_UNKNOWN)
        put_undo(t);
    if (result == STORE_OK)
        upload_http_begin_step(t, STEP_PLACE);
    else if (result == STORE_CONFLICT && t->r != NULL)
        find_refusal(t);
    else
        answer_end(t, result == STORE_FULL ? 507 : 503, SLICE("the database does not answer\n"));
}

static void upload_http_commit(struct transfer *t)
{
    struct worker *w = t->worker;
    uint64_t now = loop_wall_us(worker_loop(w));
    uint64_t keep = setting_int(&upload_keep) == SETTING_NONE
                        ? INT64_MAX / 2
                        : now + (uint64_t)setting_int(&upload_keep) * 1000;
    struct store_batch *b = store_write(worker_store(w), (uint64_t)t->slot.owner);
    ensure(t->op == NULL && !t->committing);
    STORE_ADD(b, &upload_put, 1, SV_T(slice_of(t->slot.id)), SV_I(t->slot.owner),
              SV_T(t->slot.name), SV_T(t->slot.type), SV_I(t->slot.size), SV_T(slice_of(t->hash)),
              SV_I(now), SV_I(keep));
    STORE_ADD(b, &upload_ref, 1, SV_T(slice_of(t->hash)), SV_I(t->slot.size));
    STORE_ADD(b, &upload_within, 1, SV_T(slice_of(t->slot.id)), SV_I(t->slot.owner),
              SV_I(setting_int(&upload_quota)), SV_I(now - day_us),
              SV_I(setting_int(&upload_daily)), SV_I(setting_int(&upload_files_max)));
    t->committing = true;
    t->op = store_submit(b, worker_loop(w), 0, upload_http_committed, t);
}

/* What has come goes to the disk; at the end it is flushed. */
static void write_on(struct transfer *t)
{
    if (t->piece.len > 0) {
        struct buf swap = t->writing;
        t->writing = t->piece;
        t->piece = swap;
        buf_clear(&t->piece);
        upload_http_begin_step(t, STEP_WRITE);
    } else if (t->ended) {
        upload_http_begin_step(t, STEP_FLUSH);
    }
}

static void put_stepped(struct transfer *t, enum step step)
{
    if (t->error != 0) {
        disk_failed(t);
        return;
    }
    if (step == STEP_FLUSH) {
        upload_http_commit(t);
        return;
    }
    if (step == STEP_WRITE)
        piece_release(&t->writing);
    http_release(t->r);
    if (t->piece.len >= PIECE_BYTES || t->ended)
        write_on(t);
}

static void put_data(struct http_request *r, slice piece)
{
    struct transfer *t = r->data;
    buf_add(&t->piece, piece);
    if (t->piece.len < PIECE_BYTES)
        return;
    if (t->step == STEP_NONE)
        write_on(t);
    else
        http_hold(r);
}

/* "/upload/ID/NAME". false: not of that form. */
static bool path_split(slice path, struct upload_slot *slot)
{
    slice prefix = SLICE("/upload/"), id;
    if (!slice_starts(path, prefix) ||
        !slice_cut(slice_from(path, prefix.len), '/', &id, &slot->name) ||
        id.len != UPLOAD_ID_LEN || !upload_name_ok(slot->name))
        return false;
    for (size_t i = 0; i < id.len; i++)
        if (memchr("0123456789abcdef", id.ptr[i], 16) == NULL)
            return false;
    memcpy(slot->id, id.ptr, id.len);
    return true;
}

/* Whether a PUT with this header suits a slot, which takes its type if it has none. Parameters are
 * not compared: browsers add a charset. */
static bool put_type(slice header, struct upload_slot *slot, struct arena *tmp)
{
    slice type = { 0 };
    bool typed = header.len > 0 && upload_type_read(header, tmp, &type) == OK;
    if (slot->type.len == 0) {
        slot->type = typed ? type : SLICE("application/octet-stream");
        return true;
    }
    return header.len == 0 ||
           (typed && slice_eq(upload_type_plain(type), upload_type_plain(slot->type)));
}

/* Why this PUT is refused, or 0. */
static unsigned put_check(const struct http_request *r, struct upload_slot *slot, slice *why)
{
    struct arena *tmp = http_scratch(r);
    if (!upload_has_key()) {
        *why = SLICE("files cannot be stored at the moment\n");
        return 503;
    }
    if (!path_split(r->path, slot) || !upload_verify(slot, r->query, tmp)) {
        *why = SLICE("this is not a slot\n");
        return 403;
    }
    if (loop_wall_us(r->loop) > slot->until_us) {
        *why = SLICE("the time of this slot is over: ask for another one\n");
        return 403;
    }
    if (r->body_len != slot->size) {
        *why = SLICE("the length is not what the slot was asked for\n");
        return r->body_len > slot->size ? 413 : r->body_len < 0 ? 411 : 400;
    }
    if (!put_type(http_header(r, "Content-Type"), slot, tmp)) {
        *why = SLICE("the content type is not what the slot was asked for\n");
        return 415;
    }
    if (!upload_type_allowed(slot->type)) {
        *why = SLICE("files of this type are not stored here\n");
        return 415;
    }
    return 0;
}

static void put_begin(struct http_request *r)
{
    struct upload_slot slot = { 0 };
    slice why = { 0 };
    unsigned status = put_check(r, &slot, &why);
    if (status != 0) {
        metric_add(&upload_refused, 1);
        http_answer_text(r, status, why);
        return;
    }
    struct transfer *t = transfer_create(r);
    t->slot = slot;
    memcpy(t->text, slot.name.ptr, slot.name.len);
    memcpy(t->text + slot.name.len, slot.type.ptr, slot.type.len);
    t->slot.name.ptr = t->text;
    t->slot.type.ptr = t->text + slot.name.len;
    if (!underway_enter(t)) {
        answer_end(t, 429, SLICE("too many of your files are on their way: try later\n"));
        return;
    }
    t->sha = EVP_MD_CTX_new();
    EVP_DigestInit_ex(t->sha, EVP_sha256(), NULL);
    http_hold(r);
    upload_http_begin_step(t, STEP_CREATE);
}

static void put_end(struct http_request *r)
{
    struct transfer *t = r->data;
    t->ended = true;
    if (t->step == STEP_NONE)
        write_on(t);
}

/* GET. */

/* Types that no browser runs anything in; all else is downloaded, not shown. */
static bool may_show(slice type)
{
    static const char *const shown[] = { "image/png",  "image/jpeg", "image/gif", "image/webp",
                                         "image/avif", "text/plain", NULL };
    for (const char *const *s = shown; *s != NULL; s++)
        if (slice_is(type, *s))
            return true;
    return slice_starts(type, SLICE("audio/")) || slice_starts(type, SLICE("video/"));
}

static void add_disposition(struct buf *out, slice type, slice name)
{
    struct buf value, path;
    buf_init(&value, HEADERS_BYTES_MAX);
    buf_init(&path, HEADERS_BYTES_MAX);
    upload_url_path(&path, SLICE(""), name);
    slice encoded = slice_from(buf_fit(&path), strlen("/upload//"));
    buf_printf(&value, "%s; filename*=UTF-8''%.*s",
               may_show(upload_type_plain(type)) ? "inline" : "attachment", SLICE_ARG(encoded));
    http_header_line(out, "Content-Disposition", buf_fit(&value));
    buf_fini(&value);
    buf_fini(&path);
}

static void add_modified(struct buf *out, uint64_t at_us)
{
    char text[64];
    struct tm tm;
    time_t at = (time_t)(at_us / 1000000);
    size_t n = strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&at, &tm));
    http_header_line(out, "Last-Modified", (slice){ text, n });
}

static void get_headers(struct buf *out, const struct transfer *t, enum http_range part)
{
    char text[128];
    http_header_line(out, "Accept-Ranges", SLICE("bytes"));
    snprintf(text, sizeof text, "\"%.32s\"", t->hash);
    http_header_line(out, "ETag", slice_of(text));
    add_modified(out, t->at_us);
    add_disposition(out, t->slot.type, t->slot.name);
    if (part == HTTP_RANGE_PART)
        snprintf(text, sizeof text, "bytes %llu-%llu/%llu", (unsigned long long)t->at,
                 (unsigned long long)t->end - 1, (unsigned long long)t->size);
    else if (part == HTTP_RANGE_UNSATISFIABLE)
        snprintf(text, sizeof text, "bytes */%llu", (unsigned long long)t->size);
    if (part != HTTP_RANGE_NONE)
        http_header_line(out, "Content-Range", slice_of(text));
}

static bool upload_http_is_fresh(const struct transfer *t)
{
    char etag[64];
    snprintf(etag, sizeof etag, "\"%.32s\"", t->hash);
    return http_has_etag(http_header(t->r, "If-None-Match"), slice_of(etag));
}

/* The file is open: headers, and what was asked for of it. */
static void upload_http_opened(struct transfer *t)
{
    struct buf lines;
    uint64_t last = 0;
    char type[UPLOAD_TYPE_MAX + 1];
    bool fresh = upload_http_is_fresh(t);
    enum http_range part = http_range_parse(http_header(t->r, "Range"), t->size, &t->at, &last);
    t->end = part == HTTP_RANGE_PART ? last + 1 : t->size;
    if (part != HTTP_RANGE_PART)
        t->at = 0;
    buf_init(&lines, HEADERS_BYTES_MAX);
    get_headers(&lines, t, fresh ? HTTP_RANGE_NONE : part);
    snprintf(type, sizeof type, "%.*s", SLICE_ARG(t->slot.type));
    struct http_answer a = { .status = fresh                              ? 304
                                       : part == HTTP_RANGE_UNSATISFIABLE ? 416
                                       : part == HTTP_RANGE_PART          ? 206
                                                                          : 200,
                             .type = type,
                             .cache = "private, max-age=31536000, immutable",
                             .policy = "default-src 'none'; sandbox",
                             .headers = buf_fit(&lines) };
    if (fresh || part == HTTP_RANGE_UNSATISFIABLE) {
        a.type = NULL;
        http_answer(t->r, &a);
        transfer_end(t);
    } else {
        http_start(t->r, &a, (int64_t)(t->end - t->at));
        if (t->r->head) {
            http_finish(t->r);
            transfer_end(t);
        } else {
            upload_http_begin_step(t, STEP_READ);
        }
    }
    buf_fini(&lines);
}

static void upload_http_found(void *arg, enum store_result result, const struct store_batch *b)
{
    struct transfer *t = arg;
    ensure(t->op != NULL);
    t->op = NULL;
    if (result != STORE_OK) {
        answer_end(t, 503, SLICE("the database does not answer\n"));
        return;
    }
    if (store_row_count(b, 0) == 0 || !slice_eq(store_text(b, 0, 0, 0), t->slot.name) ||
        (uint64_t)store_int(b, 0, 0, 5) <= loop_wall_us(worker_loop(t->worker))) {
        answer_end(t, 404, SLICE("there is no such file\n"));
        return;
    }
    slice type = store_text(b, 0, 0, 1);
    t->slot.type = (slice){ t->text + t->slot.name.len,
                            type.len < UPLOAD_TYPE_MAX ? type.len : UPLOAD_TYPE_MAX };
    memcpy(t->text + t->slot.name.len, type.ptr, t->slot.type.len);
    t->size = (uint64_t)store_int(b, 0, 0, 2);
    t->at_us = (uint64_t)store_int(b, 0, 0, 4);
    snprintf(t->hash, sizeof t->hash, "%.*s", SLICE_ARG(store_text(b, 0, 0, 3)));
    upload_http_begin_step(t, STEP_OPEN);
}

static void get_on(struct transfer *t)
{
    if (t->at < t->end) {
        upload_http_begin_step(t, STEP_READ);
    } else {
        metric_add(&upload_served_files, 1);
        http_finish(t->r);
        transfer_end(t);
    }
}

static void get_failed(struct transfer *t, enum step step)
{
    log_error(&log_upload, LOG_EV("upload.unreadable"), LOG_C("hash", t->hash),
              LOG_C("error", strerror(t->error)),
              LOG_C("hint", "restore the file in uploads/ from a backup, or delete the upload"));
    if (step == STEP_OPEN) {
        answer_end(t, t->error == ENOENT ? 404 : 500, SLICE("the file cannot be read\n"));
    } else { /* the header has gone out: only a broken connection can tell */
        http_break(t->r);
        transfer_end(t);
    }
}

static void get_stepped(struct transfer *t, enum step step)
{
    if (t->error != 0) {
        get_failed(t, step);
        return;
    }
    if (step == STEP_OPEN) {
        upload_http_opened(t);
        return;
    }
    metric_add(&upload_served, (int64_t)t->piece.len);
    http_send(t->r, buf_slice(&t->piece)); /* fits: it is read into it */
    piece_release(&t->piece);              /* it lies in the output now, maybe for long */
    if (http_waiting(t->r) == 0)
        get_on(t); /* else when it has gone: get_drained() */
}

static void get_drained(struct http_request *r)
{
    struct transfer *t = r->data;
    if (t->step == STEP_NONE && t->fd >= 0)
        get_on(t);
}

static void get_handle(struct http_request *r)
{
    struct upload_slot slot = { 0 };
    if (!path_split(r->path, &slot)) {
        http_answer_text(r, 404, SLICE("there is no such file\n"));
        return;
    }
    struct transfer *t = transfer_create(r);
    memcpy(t->text, slot.name.ptr, slot.name.len);
    t->slot = slot;
    t->slot.name.ptr = t->text;
    struct store_batch *b = store_read(worker_store(t->worker), 0);
    STORE_ADD(b, &upload_find, STORE_ANY_ROWS, SV_T(slice_of(t->slot.id)));
    t->op = store_submit(b, worker_loop(t->worker), 0, upload_http_found, t);
}

static void upload_http_step_done(struct work *w)
{
    struct transfer *t = CONTAINER_OF(w, struct transfer, work);
    enum step step = t->step;
    ensure(worker_is_here(t->worker) && step != STEP_NONE);
    t->step = STEP_NONE;
    if (step == STEP_PLACE)
        placed(t);
    else if (t->r == NULL)
        transfer_free(t);
    else if (step == STEP_OPEN || step == STEP_READ)
        get_stepped(t, step);
    else
        put_stepped(t, step);
}

static void upload_http_gone(struct http_request *r)
{
    struct transfer *t = r->data;
    if (t != NULL) {
        if (!t->committing)
            store_cancel(&t->op);
        transfer_end(t);
    }
}

static void upload_http_begin(struct http_request *r)
{
    if (r->method == HTTP_M_PUT)
        put_begin(r);
    else if (r->body_len != 0) /* RFC 9110 §9.3.1: it has no meaning, put_data() has no place */
        http_answer_text(r, 400, SLICE("a GET has no body\n"));
}

static void upload_http_handle(struct http_request *r)
{
    if (r->method == HTTP_M_PUT)
        put_end(r);
    else
        get_handle(r);
}

const struct http_route upload_routes[] = {
    { .path = "/upload/",
      .methods = HTTP_M_GET | HTTP_M_PUT,
      .flags = HTTP_CORS,
      .body_max = BODY_MAX,
      .begin = upload_http_begin,
      .data = put_data,
      .handle = upload_http_handle,
      .gone = upload_http_gone,
      .drained = get_drained },
    { 0 },
};
