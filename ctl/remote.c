#include "ctl/remote.h"
#include "base/arena.h"
#include "base/command.h"
#include "codec/http_reply.h"
#include "io/tls_names.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_BYTES = 64 * 1024 };

struct exchange {
    const struct remote *remote;
    const struct command *command;
    struct http_uri uri;
    struct arena *arena;
    const char *token;
    int fd; /* -1: none */
    SSL_CTX *ctx;
    SSL *ssl;
    struct why *why;
};

static enum err ctl_remote_address(struct exchange *x)
{
    const char *url = x->remote->url;
    if (https_uri_read(&x->uri, slice_of(url)) &&
        memchr(x->uri.path.ptr, '?', x->uri.path.len) == NULL)
        return OK;
    why_set(x->why, "--url: found %.200s, allowed https://HOST[:PORT]/", url);
    return E_SYNTAX;
}

/* Its first line, if nobody else can read the file. */
static enum err ctl_remote_read_token(struct exchange *x, char *out)
{
    const char *path = x->remote->token_file;
    struct stat st;
    FILE *file = fopen(path, "re");
    if (file == NULL || fstat(fileno(file), &st) != 0) {
        why_set(x->why, "--token-file: %s: %s", path, strerror(errno));
        if (file != NULL)
            fclose(file);
        return E_SYNTAX;
    }
    const char *got = fgets(out, REMOTE_TOKEN_MAX, file);
    fclose(file);
    if (S_ISREG(st.st_mode) && (st.st_mode & 077) != 0) {
        why_set(x->why, "--token-file: %s: others can read it; run `chmod 600 %s`", path, path);
        return E_SYNTAX;
    }
    if (got == NULL)
        *out = '\0';
    out[strcspn(out, "\r\n")] = '\0';
    return OK;
}

/* RFC 6750 §2.1: a token of these characters ends no header line. */
static enum err ctl_remote_token(struct exchange *x)
{
    char *token = arena_alloc(x->arena, REMOTE_TOKEN_MAX, 1);
    enum err e = OK;
    *token = '\0';
    if (x->remote->token_file != NULL)
        e = ctl_remote_read_token(x, token);
    else if (x->remote->token != NULL)
        snprintf(token, REMOTE_TOKEN_MAX, "%s", x->remote->token);
    if (e != OK)
        return e;
    if (*token != '\0' &&
        token[strspn(token, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                            "-._~+/=")] == '\0') {
        x->token = token;
        return OK;
    }
    why_set(x->why, "found no access token: give --token-file FILE, or set MUSTER_TOKEN; "
                    "`musterctl token add` on the machine of the server makes one");
    return E_SYNTAX;
}

/* 0, or why it does not connect: an errno. */
static int ctl_remote_dial(const struct addrinfo *to, int *out)
{
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), why = 0;
    if (fd < 0)
        return errno;
    if (connect(fd, to->ai_addr, to->ai_addrlen) != 0)
        why = errno;
    if (why == EINPROGRESS) {
        struct pollfd p = { .fd = fd, .events = POLLOUT };
        socklen_t len = sizeof why;
        int ready = poll(&p, 1, REMOTE_CONNECT_S * 1000);
        if (ready == 0)
            why = ETIMEDOUT;
        else if (ready < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len) != 0)
            why = errno;
    }
    int flags = fcntl(fd, F_GETFL);
    if (why == 0 && (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) != 0))
        why = errno;
    if (why != 0) {
        close(fd);
        return why;
    }
    const struct timeval limit = { .tv_sec = CTL_SILENT_S };
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on); /* a peer that is gone is noticed */
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    *out = fd;
    return 0;
}

static enum err ctl_remote_connect(struct exchange *x)
{
    const struct addrinfo wanted = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *all;
    char port[8];
    int why = ENOENT;
    snprintf(port, sizeof port, "%u", x->uri.port);
    int rc = getaddrinfo(slice_cstr(x->arena, x->uri.host), port, &wanted, &all);
    if (rc != 0) {
        why_set(x->why, "%.*s: %s", SLICE_ARG(x->uri.host), gai_strerror(rc));
        return E_DOWN;
    }
    for (const struct addrinfo *at = all; at != NULL && x->fd < 0; at = at->ai_next)
        why = ctl_remote_dial(at, &x->fd);
    freeaddrinfo(all);
    if (x->fd >= 0)
        return OK;
    why_set(x->why,
            "%.*s port %u: cannot connect: %s. Is it the address of listen.https_admin, and does "
            "the server run?",
            SLICE_ARG(x->uri.host), x->uri.port, strerror(why));
    return E_DOWN;
}

/* Whom the certificate must name: an address in numbers, or a DNS name (RFC 9110 §4.3.4). */
static bool ctl_remote_expect(struct exchange *x)
{
    const char *host = slice_cstr(x->arena, x->uri.host);
    X509_VERIFY_PARAM *param = SSL_get0_param(x->ssl);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1)
        return true;
    return SSL_set_tlsext_host_name(x->ssl, host) == 1 &&
           X509_VERIFY_PARAM_set1_host(param, host, 0) == 1;
}

/* Whether the call of OpenSSL that returned rc failed because of CTL_SILENT_S of silence. */
static bool ctl_remote_is_late(const struct exchange *x, int rc)
{
    int error = SSL_get_error(x->ssl, rc);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

static enum err ctl_remote_silent(struct exchange *x, const char *hint)
{
    why_set(x->why, "%.*s: the server does not answer%s", SLICE_ARG(x->uri.authority), hint);
    return E_TIMEOUT;
}

static enum err ctl_remote_refused(struct exchange *x)
{
    long verdict = SSL_get_verify_result(x->ssl);
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    if (verdict == X509_V_ERR_HOSTNAME_MISMATCH || verdict == X509_V_ERR_IP_ADDRESS_MISMATCH)
        why_set(x->why,
                "%.*s: its certificate is for other names; give one of these in --url, or have a "
                "certificate made for this one, too",
                SLICE_ARG(x->uri.authority));
    else if (verdict != X509_V_OK)
        why_set(x->why,
                "%.*s: its certificate was not accepted: %s. If another authority has issued it, "
                "give --ca FILE",
                SLICE_ARG(x->uri.authority), X509_verify_cert_error_string(verdict));
    else
        why_set(x->why, "%.*s: TLS failed: %s", SLICE_ARG(x->uri.authority),
                reason != NULL ? reason : "the server closed the connection");
    return verdict != X509_V_OK ? E_AUTH : E_DOWN;
}

static enum err ctl_remote_secure(struct exchange *x)
{
    x->ctx = SSL_CTX_new(TLS_client_method());
    if (x->ctx == NULL || SSL_CTX_set_min_proto_version(x->ctx, TLS1_2_VERSION) != 1) {
        why_set(x->why, "TLS is not available");
        return E_INTERNAL;
    }
    const char *ca = x->remote->ca;
    if (ca != NULL ? SSL_CTX_load_verify_locations(x->ctx, ca, NULL) != 1
                   : SSL_CTX_set_default_verify_paths(x->ctx) != 1) {
        why_set(x->why, "--ca: %s: found no certificate that can be read, expected PEM",
                ca != NULL ? ca : "the system");
        return E_SYNTAX;
    }
    /* a certificate that is trusted itself needs no authority */
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(x->ctx), X509_V_FLAG_PARTIAL_CHAIN);
    SSL_CTX_set_verify(x->ctx, SSL_VERIFY_PEER, NULL);
    x->ssl = SSL_new(x->ctx);
    if (x->ssl == NULL || !ctl_remote_expect(x) || SSL_set_fd(x->ssl, x->fd) != 1) {
        why_set(x->why, "--url: found %.*s, allowed a host", SLICE_ARG(x->uri.host));
        return E_SYNTAX;
    }
    ERR_clear_error();
    int rc = SSL_connect(x->ssl);
    if (rc != 1 && ctl_remote_is_late(x, rc))
        return ctl_remote_silent(x, "");
    return rc == 1 ? OK : ctl_remote_refused(x);
}

/* HTTP/1.0, so that the answer comes as a whole: codec/http_reply.h. */
static enum err ctl_remote_ask(struct exchange *x, const struct command *c, slice args)
{
    struct buf out;
    slice path = slice_without_end(x->uri.path, '/', 0);
    char *name = slice_cstr(x->arena, slice_of(c->name));
    for (char *at = name; *at != '\0'; at++)
        *at = *at == ' ' ? '-' : *at;
    buf_init(&out, REMOTE_ANSWER_MAX);
    buf_printf(&out,
               "POST %.*s/api/v1/commands/%s HTTP/1.0\r\nHost: %.*s\r\nConnection: close\r\n"
               "User-Agent: musterctl\r\nPrefer: names=options\r\nAuthorization: Bearer %s\r\n"
               "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
               SLICE_ARG(path), name, SLICE_ARG(x->uri.authority), x->token, args.len);
    buf_add(&out, args);
    size_t sent = 0;
    bool fine = !out.overflow && SSL_write_ex(x->ssl, out.ptr, out.len, &sent) == 1;
    bool late = !fine && !out.overflow && ctl_remote_is_late(x, 0);
    buf_fini(&out);
    if (fine)
        return OK;
    if (late)
        return ctl_remote_silent(x, "");
    why_set(x->why, "%.*s: the request cannot be sent", SLICE_ARG(x->uri.authority));
    return E_DOWN;
}

static void ctl_remote_close(struct exchange *x)
{
    SSL_free(x->ssl);
    SSL_CTX_free(x->ctx);
    if (x->fd >= 0)
        close(x->fd);
}

/* Asks for the status by another connection: whatever comes is an answer. */
static bool ctl_remote_hangs(const struct exchange *x)
{
    struct why ignored;
    struct exchange other = { .remote = x->remote,
                              .uri = x->uri,
                              .arena = x->arena,
                              .token = x->token,
                              .fd = -1,
                              .why = &ignored };
    char first;
    size_t got;
    enum err e = ctl_remote_connect(&other);
    bool connects = e == OK;
    if (e == OK)
        e = ctl_remote_secure(&other);
    if (e == OK)
        e = ctl_remote_ask(&other, command_find(SLICE("status")), SLICE("{}"));
    if (e == OK && SSL_read_ex(other.ssl, &first, 1, &got) != 1 && ctl_remote_is_late(&other, 0))
        e = E_TIMEOUT;
    ctl_remote_close(&other);
    return !connects || e == E_TIMEOUT;
}

static enum err ctl_remote_read(struct exchange *x, struct buf *all, struct http_reply *reply)
{
    enum http_reply_end end = HTTP_REPLY_MORE;
    while (end == HTTP_REPLY_MORE) {
        size_t got = 0;
        char *room = buf_reserve(all, READ_BYTES);
        ERR_clear_error();
        bool ended = room == NULL || SSL_read_ex(x->ssl, room, READ_BYTES, &got) != 1;
        if (ended && room != NULL && ctl_remote_is_late(x, 0)) {
            if (ctl_remote_hangs(x))
                return ctl_remote_silent(x, "; it may still carry out the command");
            continue;
        }
        all->len += got;
        end = http_reply_read(reply, buf_slice(all), ended, REMOTE_ANSWER_MAX);
    }
    if (end == HTTP_REPLY_DONE)
        return OK;
    why_set(x->why, "%.*s: the server closed the connection without a whole answer%s",
            SLICE_ARG(x->uri.authority), x->command->effect == COMMAND_CHANGES ? CTL_OPEN : "");
    return E_DOWN;
}

/* As the control socket has it: all on one line. The line ends of the body are between its values,
 * never within one. */
static void ctl_remote_succeeded(struct buf *line, slice body, bool ok)
{
    buf_printf(line, "{\"ok\":%s,", ok ? "true" : "false");
    for (size_t i = 1; i < body.len; i++)
        if (body.ptr[i] != '\n')
            buf_append(line, body.ptr + i, 1);
    buf_lit(line, "\n");
}

static void ctl_remote_failed(struct buf *line, const json_t *problem)
{
    json_t *rows = json_object_get(problem, "rows");
    json_t *reply = json_pack("{s:b,s:O,s:O}", "ok", 0, "error", json_object_get(problem, "error"),
                              "text", json_object_get(problem, "detail"));
    if (rows != NULL)
        json_object_set(reply, "rows", rows);
    size_t len = json_dumpb(reply, NULL, 0, JSON_COMPACT);
    char *room = buf_reserve(line, len);
    if (room != NULL)
        line->len += json_dumpb(reply, room, len, JSON_COMPACT);
    buf_lit(line, "\n");
    json_decref(reply);
}

static enum err ctl_remote_answer(struct exchange *x, const struct http_reply *reply,
                                  struct buf *line)
{
    json_t *body = json_loadb(reply->body.ptr, reply->body.len, 0, NULL);
    enum err e = OK;
    if (reply->status == 200 && json_is_array(json_object_get(body, "rows"))) {
        ctl_remote_succeeded(line, reply->body, json_object_get(body, "error") == NULL);
    } else if (reply->status == 401) {
        why_set(x->why,
                "%.*s: the access token is not accepted; `musterctl token list` on the "
                "machine of the server shows those that are",
                SLICE_ARG(x->uri.authority));
        e = E_AUTH;
    } else if (reply->status >= 400 && json_is_string(json_object_get(body, "error")) &&
               json_is_string(json_object_get(body, "detail"))) {
        ctl_remote_failed(line, body);
    } else {
        why_set(x->why,
                "%.*s: found status %u, expected an answer of the API; is it the address of "
                "listen.https_admin?",
                SLICE_ARG(x->uri.authority), reply->status);
        e = E_PROTO;
    }
    json_decref(body);
    return e;
}

enum err remote_run(const struct remote *r, const struct command *c, slice args, struct buf *line,
                    struct why *why)
{
    struct exchange x = {
        .remote = r, .command = c, .arena = arena_create(0), .fd = -1, .why = why
    };
    struct http_reply reply;
    struct buf all;
    buf_init(&all, REMOTE_ANSWER_MAX + HTTP_REPLY_HEAD_MAX + READ_BYTES);
    signal(SIGPIPE, SIG_IGN); /* of a server that goes while we write */
    enum err e = ctl_remote_address(&x);
    if (e == OK)
        e = ctl_remote_token(&x);
    if (e == OK)
        e = ctl_remote_connect(&x);
    if (e == OK)
        e = ctl_remote_secure(&x);
    if (e == OK)
        e = ctl_remote_ask(&x, c, args);
    if (e == OK)
        e = ctl_remote_read(&x, &all, &reply);
    if (e == OK)
        e = ctl_remote_answer(&x, &reply, line);
    ctl_remote_close(&x);
    buf_fini(&all);
    arena_destroy(&x.arena);
    return e;
}
