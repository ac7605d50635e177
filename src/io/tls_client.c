#include "io/tls_client.h"
#include "base/ensure.h"
#include "io/tls_private.h"
#include <openssl/err.h>
#include <pthread.h>

enum { SERVER_NAME_MAX = 255, ALPN_BYTES_MAX = 256 };

/* Of the process: they have neither certificates nor sessions. Made anew when a policy has changed.
 */
struct client {
    SSL_CTX *ssl;
    unsigned changes; /* tls_policy_changes() of then */
};
static pthread_mutex_t client_lock = PTHREAD_MUTEX_INITIALIZER;
static struct client client_servers, client_relay; /* guarded by it */

static SSL *client_session_new(bool relay)
{
    struct client *c = relay ? &client_relay : &client_servers;
    pthread_mutex_lock(&client_lock);
    unsigned changes = tls_policy_changes();
    if (c->ssl == NULL || c->changes != changes) {
        SSL_CTX_free(c->ssl);
        c->ssl = tls_ssl_ctx_create(TLS_client_method(), relay ? TLS_RELAY : TLS_SERVERS);
        c->changes = changes;
        SSL_CTX_set_options(c->ssl, SSL_OP_NO_TICKET);
        tls_judgement_staples(c->ssl);
    }
    SSL *ssl = SSL_new(c->ssl);
    pthread_mutex_unlock(&client_lock);
    ensure(ssl != NULL);
    return ssl;
}

static bool set_server_name(SSL *ssl, slice name)
{
    if (name.len == 0)
        return true;
    if (name.len > SERVER_NAME_MAX || memchr(name.ptr, '\0', name.len) != NULL)
        return false;
    char host[SERVER_NAME_MAX + 1];
    memcpy(host, name.ptr, name.len);
    host[name.len] = '\0';
    return SSL_set_tlsext_host_name(ssl, host) == 1;
}

/* RFC 7301 §3.1: each with its length before it. */
static bool set_protocols(SSL *ssl, const slice *alpn, size_t count)
{
    size_t len = 0;
    unsigned char list[ALPN_BYTES_MAX];
    for (size_t i = 0; i < count; i++) {
        if (alpn[i].len == 0 || alpn[i].len > UINT8_MAX || alpn[i].len >= sizeof(list) - len)
            return false;
        list[len++] = (unsigned char)alpn[i].len;
        memcpy(list + len, alpn[i].ptr, alpn[i].len);
        len += alpn[i].len;
    }
    return count == 0 || SSL_set_alpn_protos(ssl, list, (unsigned)len) == 0;
}

static bool show_own(SSL *ssl, const struct tls_call *call)
{
    if (call->own == NULL)
        return true;
    STACK_OF(X509) *chain = NULL;
    SSL_CTX *own = tls_ctx_for(call->own, call->own_domain, TLS_XMPP_SERVER);
    SSL_CTX_get0_chain_certs(own, &chain);
    return SSL_use_cert_and_key(ssl, SSL_CTX_get0_certificate(own), SSL_CTX_get0_privatekey(own),
                                chain, 1) == 1;
}

SSL *tls_client_session(const struct tls_call *call)
{
    SSL *ssl = client_session_new(call->relay);
    SSL_set_connect_state(ssl);
    if (set_server_name(ssl, call->server_name) &&
        set_protocols(ssl, call->alpn, call->alpn_count) && show_own(ssl, call))
        return ssl;
    SSL_free(ssl);
    ERR_clear_error();
    return NULL;
}
