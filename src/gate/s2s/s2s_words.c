#include "gate/s2s/s2s_words.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/setting.h"
#include "codec/xml_write.h"
#include "gate/s2s/s2s_rows.h"
#include "gate/stanza_limits.h"
#include "gate/stream_limits.h"
#include "home/here.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"

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
