/* webchat: a chat client for browsers (Converse.js, made by `make web`) at web.chat-path, with the
 * addresses of this server. The files are read by helper threads, one piece at a time for a
 * request; the next piece is read when the last has gone out.
 *
 * What lies in a folder with the version of the client in its name never changes and is kept by
 * browsers for a year; the page itself is asked for each time (ETag). A file NAME.gz beside NAME
 * goes to those that take gzip. */
#include "base/buf.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/setting.h"
#include "codec/http_read.h"
#include "codec/json_text.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "home/here.h"
#include "home/host.h"
#include "home/node.h"
#include "http/parse.h"
#include "http/server.h"
#include "io/work.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, PIECE_BYTES = 128 << 10 };
/* Bytes of the parts of answers. */
enum { ORIGINS_MAX = 4096, LINES_MAX = 4096, SETTINGS_MAX = 16384 };
enum { POLICY_MAX = 3 * ORIGINS_MAX + 512 }; /* three directives name the origins */

static struct log_area log_webchat = { .name = "webchat" };

static bool is_path(slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '-' || c == '_';
        if (!word && (c != '/' || (i > 0 && text.ptr[i - 1] == '/')))
            return false;
    }
    return text.len > 1 && text.ptr[0] == '/' && text.ptr[text.len - 1] != '/';
}

/* The content type of a file; NULL: such a file is not served. */
static const char *webchat_type_of(slice name)
{
    static const char *const table[][2] = {
        { ".html", "text/html; charset=utf-8" },
        { ".js", "text/javascript; charset=utf-8" },
        { ".css", "text/css; charset=utf-8" },
        { ".txt", "text/plain; charset=utf-8" },
        { ".json", "application/json" },
        { ".png", "image/png" },
        { ".jpg", "image/jpeg" },
        { ".webp", "image/webp" },
        { ".svg", "image/svg+xml" },
        { ".ico", "image/vnd.microsoft.icon" },
        { ".mp3", "audio/mpeg" },
        { ".ogg", "audio/ogg" },
        { ".ttf", "font/ttf" },
        { ".woff2", "font/woff2" },
        { ".wasm", "application/wasm" },
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        slice end = slice_of(table[i][0]);
        if (name.len > end.len && slice_eq(slice_from(name, name.len - end.len), end))
            return table[i][1];
    }
    return NULL;
}

static bool is_picture(slice path)
{
    const char *type = webchat_type_of(path);
    return path.len == 0 || (path.ptr[0] == '/' && type != NULL && strncmp(type, "image/", 6) == 0);
}

static struct setting chat_on = {
    .name = "web.chat",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Serves a chat client for browsers on the HTTP listeners.",
};
static struct setting chat_path;
static bool is_free_path(slice text)
{
    return is_path(text) && http_path_is_free(text, &chat_path);
}

static struct setting chat_path = {
    .name = "web.chat-path",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_TEXT,
    .def_text = "/chat",
    .max = 256,
    .check = is_free_path,
    .form = "a path as \"/chat\", of letters, digits, hyphens, underscores and slashes, where no "
            "other page is",
    .doc = "Where the chat client is served.",
};
static struct setting chat_files = {
    .name = "web.chat-files",
    .scope = SCOPE_NODE,
    .type = PARAM_PATH,
    .def_text = "",
    .max = 1024,
    .doc = "Folder with the files of the chat client. Empty: ../share/muster/chat, from the folder "
           "of musterd, where `make install` puts them.",
};

static struct setting chat_title = {
    .name = "web.title",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_TEXT,
    .def_text = "",
    .max = 128,
    .doc = "Name of the organisation or service: title of the chat page, and shown above its login "
           "form. Empty: the domain.",
};
static struct setting chat_logo = {
    .name = "web.logo",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_PATH,
    .def_text = "",
    .max = 1024,
    .check = is_picture,
    .form = "the path of a .png, .svg, .jpg or .webp file, beginning with /",
    .doc = "File with a picture that the chat page shows above its login form. Empty: none.",
};

/* ../share/muster/chat; set at start. */
static char installed[PATH_BYTES];

static void find_installed(void)
{
    char exe[PATH_BYTES - 64];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0)
        return;
    exe[n] = '\0';
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(exe, '/');
        if (slash != NULL)
            *slash = '\0';
    }
    snprintf(installed, sizeof installed, "%s/share/muster/chat", exe);
}

/* A request for a file. Freed when nobody waits and no step is under way. */
enum step { STEP_NONE, STEP_OPEN, STEP_READ };

struct fetch {
    struct http_request *r; /* NULL: the client has gone */
    struct worker *worker;
    struct work work;
    enum step step;
    int error; /* errno of the last step */
    int fd;
    bool gzip;         /* is taken; after the file was opened: that is what it is */
    const char *type;  /* static */
    slice name;        /* within path: what is behind the folder */
    uint64_t at, size; /* next byte; all */
    uint64_t modified; /* ns */
    struct buf piece;
    char path[PATH_BYTES];
};

/* Helper threads. */

static int open_regular(struct fetch *f, const char *path)
{
    struct stat st;
    f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (f->fd < 0)
        return errno;
    if (fstat(f->fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(f->fd);
        f->fd = -1;
        return ENOENT;
    }
    f->size = (uint64_t)st.st_size;
    f->modified = (uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec;
    return 0;
}

static int webchat_open_file(struct fetch *f)
{
    char packed[PATH_BYTES + 4];
    snprintf(packed, sizeof packed, "%s.gz", f->path);
    f->gzip = f->gzip && open_regular(f, packed) == 0;
    return f->gzip ? 0 : open_regular(f, f->path);
}

static int webchat_read_piece(struct fetch *f)
{
    uint64_t left = f->size - f->at;
    size_t want = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
    buf_clear(&f->piece);
    ssize_t n = pread(f->fd, buf_reserve(&f->piece, want), want, (off_t)f->at);
    if (n <= 0)
        return n == 0 ? EIO : errno;
    f->piece.len = (size_t)n;
    f->at += (uint64_t)n;
    return 0;
}

static void webchat_run_step(struct work *w)
{
    struct fetch *f = CONTAINER_OF(w, struct fetch, work);
    ensure(f->step != STEP_NONE);
    f->error = f->step == STEP_OPEN ? webchat_open_file(f) : webchat_read_piece(f);
}

/* The worker. */

static void fetch_free(struct fetch *f)
{
    if (f->r != NULL || f->step != STEP_NONE)
        return;
    if (f->fd >= 0)
        close(f->fd);
    buf_fini(&f->piece);
    mem_free(&f);
}

/* The answer is given, or nobody waits for it: nothing more may be said. */
static void fetch_end(struct fetch *f)
{
    f->r = NULL;
    fetch_free(f);
}

static void webchat_step_done(struct work *w);

static void webchat_begin_step(struct fetch *f, enum step step)
{
    f->step = step;
    f->work.run = webchat_run_step;
    f->work.done = webchat_step_done;
    if (work_submit(worker_work(f->worker), worker_loop(f->worker), &f->work) == OK)
        return;
    f->step = STEP_NONE;
    if (step == STEP_OPEN)
        http_answer_text(f->r, 503, SLICE("Too much is going on: try later.\n"));
    else
        http_break(f->r);
    fetch_end(f);
}

/* Adds an origin to a list of sources, unless it holds what ends one. */
static void add_source(struct buf *out, slice origin)
{
    for (size_t i = 0; i < origin.len; i++)
        if (strchr(" ;,'\"\\", origin.ptr[i]) != NULL || (unsigned char)origin.ptr[i] < 0x21)
            return;
    buf_lit(out, " ");
    buf_add(out, origin);
}

/* Returns false if it is one too many. */
static bool add_source_once(struct buf *out, slice origin)
{
    const char *at = out->len > 0 ? memmem(out->ptr, out->len, origin.ptr, origin.len) : NULL;
    size_t end = at == NULL ? 0 : (size_t)(at - out->ptr) + origin.len;
    if (origin.len == 0 || (at != NULL && (end == out->len || out->ptr[end] == ' ')))
        return true;
    if (out->len + 1 + origin.len > ORIGINS_MAX)
        return false;
    add_source(out, origin);
    return true;
}

static slice other_setting(const char *name, slice domain)
{
    const struct setting *s = setting_find(slice_of(name));
    return s != NULL ? setting_text_of(s, domain) : SLICE("");
}

/* The domain that a page of this host is for; of an unknown host the first. */
static slice webchat_domain_of(const struct http_request *r)
{
    slice domain = http_domain_of(r);
    return domain.len > 0 ? domain : worker_node(worker_here())->domains[0];
}

static slice webchat_logo_of(const struct http_request *r)
{
    return setting_text_of(&chat_logo, webchat_domain_of(r));
}

/* Origins beyond ORIGINS_MAX are left out. Those of the page itself come first. */
static void origins_are_many(slice domain)
{
    static _Atomic bool told;
    if (!atomic_exchange(&told, true))
        log_warn(&log_webchat, LOG_EV("webchat.many-origins"), LOG_S("domain", domain),
                 LOG_C("hint", "pages of other domains do not show the files of this one and of "
                               "those behind it; set http.base-url, or one upload.base-url"));
}

/* Where the files of a domain are. */
static void add_domain(slice domain, struct buf *out)
{
    struct buf b;
    ensure(domain.len > 0 && out->len <= ORIGINS_MAX);
    buf_init(&b, ORIGINS_MAX);
    http_public_base(domain, &b);
    if (!add_source_once(out, buf_fit(&b)) ||
        !add_source_once(out, other_setting("upload.base-url", domain)))
        origins_are_many(domain);
    buf_fini(&b);
}

/* Where files of this server may lie, and where its streams are. */
static void add_origins(const struct http_request *r, struct buf *out)
{
    struct buf b; /* of one */
    const struct node *n = worker_node(worker_here());
    buf_init(&b, ORIGINS_MAX);
    buf_printf(&b, "%s://%.*s", r->secure ? "wss" : "ws", SLICE_ARG(r->host));
    add_source(out, buf_fit(&b));
    buf_clear(&b);
    http_base_url(r, &b);
    add_source(out, buf_fit(&b));
    add_domain(webchat_domain_of(r), out);
    for (unsigned i = 0; i < n->domain_count; i++) /* others send files, too */
        add_domain(n->domains[i], out);
    buf_fini(&b);
}

/* Scripts are those of the client alone; styles it also writes into elements; avatars are data:,
 * a picture that is being sent is blob:, and its encryption is WebAssembly. */
static void page_policy(const struct http_request *r, struct buf *out)
{
    struct buf origins;
    buf_init(&origins, ORIGINS_MAX);
    add_origins(r, &origins);
    slice o = buf_fit(&origins);
    buf_printf(out,
               "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; "
               "style-src 'self' 'unsafe-inline'; font-src 'self'; "
               "img-src 'self' data: blob:%.*s; media-src 'self' data: blob:%.*s; "
               "connect-src 'self'%.*s; "
               "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
               SLICE_ARG(o), SLICE_ARG(o), SLICE_ARG(o));
    buf_fini(&origins);
}

static void not_installed(struct http_request *r)
{
    http_answer_text(
        r, 404,
        SLICE("The chat client is not installed here. It is made with `make web` where Muster is "
              "built, and installed with `make install`; or the setting web.chat-files names the "
              "folder that it is in.\n"));
}

static void send_on(struct fetch *f)
{
    if (f->at < f->size && !f->r->head) {
        webchat_begin_step(f, STEP_READ);
    } else {
        http_finish(f->r);
        fetch_end(f);
    }
}

static void webchat_opened(struct fetch *f)
{
    struct buf lines, policy;
    char etag[64];
    bool versioned = f->name.len > 1 && memchr(f->name.ptr + 1, '/', f->name.len - 1) != NULL &&
                     !slice_eq(f->name, webchat_logo_of(f->r));
    buf_init(&lines, LINES_MAX);
    buf_init(&policy, POLICY_MAX);
    snprintf(etag, sizeof etag, "\"%llx-%llx%s\"", (unsigned long long)f->modified,
             (unsigned long long)f->size, f->gzip ? "-gz" : "");
    http_header_line(&lines, "ETag", slice_of(etag));
    http_header_line(&lines, "Vary", SLICE("Accept-Encoding"));
    if (slice_is(f->name, "/index.html"))
        page_policy(f->r, &policy);
    buf_append(&policy, "", 1);
    struct http_answer a = { .status = 200,
                             .type = f->type,
                             .cache =
                                 versioned ? "public, max-age=31536000, immutable" : "no-cache",
                             .policy = policy.len > 1 && !policy.overflow ? policy.ptr : NULL };
    if (http_has_etag(http_header(f->r, "If-None-Match"), slice_of(etag))) {
        a.status = 304;
        a.type = NULL;
        a.headers = buf_fit(&lines);
        http_answer(f->r, &a);
        fetch_end(f);
    } else {
        if (f->gzip)
            http_header_line(&lines, "Content-Encoding", SLICE("gzip"));
        a.headers = buf_fit(&lines);
        http_start(f->r, &a, (int64_t)f->size);
        send_on(f);
    }
    buf_fini(&lines);
    buf_fini(&policy);
}

static void open_failed(struct fetch *f)
{
    if (f->error == ENOENT || f->error == ENOTDIR || f->error == ENAMETOOLONG) {
        if (slice_is(f->name, "/index.html"))
            not_installed(f->r);
        else
            http_answer_text(f->r, 404, SLICE("There is no such file.\n"));
    } else {
        log_error(&log_webchat, LOG_EV("webchat.unreadable"), LOG_C("file", f->path),
                  LOG_C("error", strerror(f->error)),
                  LOG_C("hint", "install the files of the chat page again"));
        http_answer_text(f->r, 500, SLICE("This file cannot be read.\n"));
    }
    fetch_end(f);
}

static void webchat_read_done(struct fetch *f)
{
    if (f->error != 0) { /* the header has gone out: only a broken connection can tell */
        log_error(&log_webchat, LOG_EV("webchat.unreadable"), LOG_C("file", f->path),
                  LOG_C("error", strerror(f->error)),
                  LOG_C("hint", "install the files of the chat page again"));
        http_break(f->r);
        fetch_end(f);
        return;
    }
    http_send(f->r, buf_slice(&f->piece)); /* fits: it is read into it */
    if (http_waiting(f->r) == 0 || f->at == f->size)
        send_on(f); /* else when it has gone: drained() */
}

static void webchat_step_done(struct work *w)
{
    struct fetch *f = CONTAINER_OF(w, struct fetch, work);
    enum step step = f->step;
    ensure(worker_is_here(f->worker) && step != STEP_NONE);
    f->step = STEP_NONE;
    if (f->r == NULL)
        fetch_free(f);
    else if (step == STEP_READ)
        webchat_read_done(f);
    else if (f->error != 0)
        open_failed(f);
    else
        webchat_opened(f);
}

static void drained(struct http_request *r)
{
    struct fetch *f = r->data;
    if (f != NULL && f->step == STEP_NONE && f->fd >= 0)
        send_on(f);
}

static void webchat_gone(struct http_request *r)
{
    struct fetch *f = r->data;
    if (f != NULL)
        fetch_end(f);
}

/* `name` is the end of the path, the folder being before it; or all of it. */
static void file_get(struct http_request *r, const char *folder, slice name)
{
    const char *type = webchat_type_of(name);
    if (type == NULL) {
        http_answer_text(r, 404, SLICE("There is no such file.\n"));
        return;
    }
    struct fetch *f = mem_new(struct fetch);
    int n = snprintf(f->path, sizeof f->path, "%s%.*s", folder, SLICE_ARG(name));
    if (n < 0 || (size_t)n >= sizeof f->path) {
        mem_free(&f);
        http_answer_text(r, 414, SLICE("This name is too long.\n"));
        return;
    }
    f->name = (slice){ f->path + (size_t)n - name.len, name.len };
    f->r = r;
    f->worker = worker_here();
    f->fd = -1;
    f->type = type;
    f->gzip = http_has_token(http_header(r, "Accept-Encoding"), "gzip");
    buf_init(&f->piece, PIECE_BYTES);
    r->data = f;
    webchat_begin_step(f, STEP_OPEN);
}

static void webchat_add_text(struct buf *out, const char *name, slice text)
{
    buf_printf(out, ", \"%s\": ", name);
    json_text(out, text);
}

struct rooms {
    struct buf *out;
    bool found;
};

/* Where rooms are made: the first of the domains that have them, which is the host's own. */
static void rooms_at(const struct host *h, slice domain, void *arg)
{
    struct rooms *rooms = arg;
    if (rooms->found || strcmp(h->category, "conference") != 0)
        return;
    rooms->found = true;
    webchat_add_text(rooms->out, "rooms", domain);
}

static bool other_on(const char *name, slice domain)
{
    const struct setting *s = setting_find(slice_of(name));
    return s != NULL && setting_bool_of(s, domain);
}

/* Where users of the domain are searched for (XEP-0055). */
static void users_at(const struct host *h, slice domain, void *arg)
{
    if (strcmp(h->category, "directory") == 0)
        webchat_add_text(arg, "users", domain);
}

/* The same page over TLS, where that is known; empty: it is not. */
static void add_https(struct buf *out, slice domain)
{
    struct buf base;
    buf_init(&base, ORIGINS_MAX);
    http_public_base(domain, &base);
    if (slice_starts(buf_fit(&base), SLICE("https://"))) {
        buf_printf(&base, "%s/", setting_text(&chat_path));
        webchat_add_text(out, "https", buf_fit(&base));
    }
    buf_fini(&base);
}

/* What the client is to know of this server; paths, since the page came from the same host. */
static void settings_get(struct http_request *r)
{
    struct buf b;
    const struct node *n = worker_node(worker_here());
    slice domain = webchat_domain_of(r), title = setting_text_of(&chat_title, domain);
    bool secret = r->secure || !other_on("c2s.tls-required", domain);
    buf_init(&b, SETTINGS_MAX);
    buf_lit(&b, "{\"domain\": ");
    json_text(&b, domain);
    webchat_add_text(&b, "title", title.len > 0 ? title : domain);
    if (webchat_logo_of(r).len > 0)
        webchat_add_text(&b, "logo", SLICE("logo"));
    webchat_add_text(&b, "encryption", secret ? SLICE("fine") : SLICE("missing"));
    if (!secret)
        add_https(&b, domain);
    buf_printf(&b, ", \"registration\": %s",
               secret && other_on("register.enabled", domain) ? "true" : "false");
    host_each_listed(n, domain, rooms_at, &(struct rooms){ &b, false });
    host_each_listed(n, domain, users_at, &b);
    webchat_add_text(&b, "websocket", other_setting("websocket.path", domain));
    webchat_add_text(&b, "bosh", other_setting("bosh.path", domain));
    buf_lit(&b, "}\n");
    http_answer(r, &(struct http_answer){ .status = 200,
                                          .type = "application/json",
                                          .cache = "no-cache",
                                          .body = buf_fit(&b) });
    buf_fini(&b);
}

static void to_chat(struct http_request *r)
{
    struct buf lines;
    buf_init(&lines, LINES_MAX);
    buf_printf(&lines, "Location: %s/\r\n", setting_text(&chat_path));
    http_answer(r, &(struct http_answer){ .status = 302, .headers = buf_fit(&lines) });
    buf_fini(&lines);
}

/* Redirects from the root of the server to the chat page. */
static void front(struct http_request *r)
{
    if (setting_bool(&chat_on))
        to_chat(r);
    else
        http_answer(r, &(struct http_answer){ .status = 404 });
}

static void webchat_handle(struct http_request *r)
{
    slice base = slice_of(setting_text(&chat_path)), name = slice_from(r->path, base.len);
    if (!setting_bool(&chat_on)) {
        http_answer_text(r, 404, SLICE("There is no chat client on this server.\n"));
    } else if (name.len == 0) {
        to_chat(r);
    } else if (slice_is(name, "/settings.json")) {
        settings_get(r);
    } else if (slice_is(name, "/logo")) {
        file_get(r, "", webchat_logo_of(r));
    } else {
        const char *folder = setting_text(&chat_files);
        file_get(r, folder[0] != '\0' ? folder : installed,
                 name.len == 1 ? SLICE("/index.html") : name);
    }
}

static const struct http_route routes[] = {
    { .path_from = &chat_path,
      .methods = HTTP_M_GET,
      .flags = HTTP_BELOW,
      .handle = webchat_handle,
      .gone = webchat_gone,
      .drained = drained },
    { .path = "/", .methods = HTTP_M_GET, .handle = front },
    { 0 },
};

const struct feature webchat_feature = {
    .name = "webchat",
    .http = routes,
    .settings = (struct setting *const[]){ &chat_on, &chat_path, &chat_files, &chat_title,
                                           &chat_logo, NULL },
    .logs = (struct log_area *const[]){ &log_webchat, NULL },
    .start = find_installed,
};
