#include "gate/s2s/s2s_words.h"
#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "gate/s2s/find/s2s_find.h"
#include "gate/s2s/s2s_rows.h"
#include "gate/stanza_limits.h"
#include "gate/stream_limits.h"
#include "home/here.h"
#include "io/tls.h"
#include "io/tls_client.h"
#include "xmpp/dialback.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"

void s2s_begin(struct xstream *x, struct conn *c, struct worker *w, struct xstreams *among)
{
    static const struct xml_limits limits = {
        .unit_bytes = S2S_HEADER_BYTES, .depth = 32, .attrs = 64, .name_bytes = 256
    };
    x->way = &xstream_tcp;
    x->conn = c;
    xstream_init(x, w, &limits);
    xstream_adopt(x, w, among);
    xstream_timer(x);
}

bool s2s_header_fits(struct xstream *x, slice unit, slice remote)
{
    struct arena *tmp = loop_scratch(worker_loop(x->worker));
    slice from = xstream_attr(x, unit, SLICE("from")),
          version = xstream_attr(x, unit, SLICE("version")), domain;
    if (!xstream_is_header(x, unit) || !slice_is(xml_stream_default_ns(&x->reader), NS_SERVER))
        xstream_fail(x, XE_INVALID_NAMESPACE, (slice){ 0 });
    else if (version.len < 2 || version.ptr[0] == '0' || version.ptr[1] != '.')
        xstream_fail(x, XE_UNSUPPORTED_VERSION, SLICE("this server speaks version 1.0"));
    else if (from.len > 0 &&
             (jid_prep_domain(from, tmp, &domain) != OK || !slice_eq(domain, remote)))
        xstream_fail(x, XE_INVALID_FROM, SLICE("the stream was opened to another domain"));
    else
        return true;
    return false;
}

void s2s_write_both(struct xstream *x)
{
    struct buf b;
    struct xml_write w;
    xml_begin(&w, &b, XML_PART_MAX);
    xml_open(&w, "bidi", NS_BIDI);
    stream_limits_write(&w, setting_int(&s2s_stanza_bytes), setting_int(&s2s_idle));
    xml_close(&w);
    xstream_write_buf(x, &b);
}

void s2s_write_external(struct xstream *x, slice local)
{
    struct buf b, text;
    struct xml_write w;
    buf_init(&text, XML_PART_MAX);
    base64_encode(&text, local);
    xml_begin(&w, &b, XML_PART_MAX);
    xml_open_with(&w, "auth", NS_SASL, "mechanism", SLICE("EXTERNAL"));
    xml_text(&w, buf_fit(&text));
    xml_close(&w);
    xstream_write_buf(x, &b);
    buf_fini(&text);
}

static void write_dialback(struct xstream *x, const char *name, slice local, slice remote, slice id,
                           slice key)
{
    struct buf b;
    struct xml_write w;
    ensure(local.len > 0 && remote.len > 0);
    xml_begin(&w, &b, XML_PART_MAX);
    xml_open(&w, name, NULL);
    xml_attr(&w, "xmlns:db", SLICE(NS_DIALBACK));
    xml_attr(&w, "from", local);
    xml_attr(&w, "to", remote);
    xml_attr_some(&w, "id", id);
    xml_text(&w, key);
    xml_close(&w);
    xstream_write_buf(x, &b);
}

void s2s_write_key(struct xstream *x, slice local, slice remote, slice key)
{
    write_dialback(x, "db:result", local, remote, (slice){ 0 }, key);
}

void s2s_write_question(struct xstream *x, slice local, slice remote, slice id, slice key)
{
    write_dialback(x, "db:verify", local, remote, id, key);
}

void s2s_start_tls(struct xstream *x, struct s2s_gate *g, const char *alpn, slice local,
                   slice remote)
{
    const slice protocol = slice_of(alpn);
    struct arena *tmp = loop_scratch(worker_loop(x->worker));
    struct tls_ctx *own = local.len > 0 ? s2s_tls(g) : NULL;
    struct tls_trust *trust = tls_trusted_get(g->trusted);
    conn_start_tls_client(x->conn, &(struct tls_call){ .server_name = s2s_server_name(remote, tmp),
                                                       .alpn = &protocol,
                                                       .alpn_count = 1,
                                                       .trust = trust,
                                                       .demand = TLS_REPORT,
                                                       .own = own,
                                                       .own_domain = s2s_ascii(local, tmp) });
    tls_trust_unref(&trust);
    tls_ctx_unref(&own);
}

void s2s_keep_id(char **kept, struct xstream *x, slice unit)
{
    slice id = xstream_attr(x, unit, SLICE("id"));
    mem_free(kept);
    if (id.len == 0 || id.len > DIALBACK_ID_MAX)
        return;
    *kept = mem_zalloc(id.len + 1);
    memcpy(*kept, id.ptr, id.len);
}

const char *s2s_said(const struct elem *error, struct elem *condition, struct arena *tmp)
{
    struct elem text;
    slice words = { 0 };
    if (!elem_first(error, condition))
        return NULL;
    if (elem_child(error, "text", NS_STREAM_ERROR, &text))
        words = elem_text(&text, tmp);
    return arena_printf(tmp, "the server says: %.*s%s%.*s",
                        (int)(condition->name.len < 64 ? condition->name.len : 64),
                        condition->name.ptr, words.len > 0 ? ": " : "",
                        (int)(words.len < 128 ? words.len : 128), words.ptr);
}
