/* host_meta: where clients that know only the domain find WebSocket and BOSH (XEP-0156, RFC 6415),
 * as XML and as JSON. */
#include "base/buf.h"
#include "base/setting.h"
#include "codec/json_text.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "gate/web.h"
#include "http/server.h"

static const struct {
    const char *rel;
    const struct setting *path;
    bool ws; /* ws: and wss: instead of http: and https: */
} links[] = {
    { "urn:xmpp:alt-connections:websocket", &websocket_path, true },
    { "urn:xmpp:alt-connections:xbosh", &bosh_path, false },
};
enum { LINKS = sizeof links / sizeof links[0] };

static void link_url(const struct http_request *r, unsigned i, struct buf *out)
{
    struct buf base;
    slice url;
    buf_init(&base, XML_PART_MAX);
    http_base_url(r, &base);
    url = buf_fit(&base);
    if (links[i].ws && slice_starts(url, SLICE("http"))) {
        buf_lit(out, "ws");
        url = slice_from(url, 4);
    }
    buf_add(out, url);
    buf_add(out, slice_of(setting_text(links[i].path)));
    buf_fini(&base);
}

static void host_meta_answer(struct http_request *r, const char *type, const struct buf *document)
{
    http_answer(r,
                &(struct http_answer){ .status = 200, .type = type, .body = buf_slice(document) });
}

static void as_xml(struct http_request *r)
{
    struct buf b, url;
    struct xml_write x;
    xml_begin(&x, &b, XML_PART_MAX);
    buf_init(&url, XML_PART_MAX);
    buf_lit(&b, "<?xml version='1.0' encoding='utf-8'?>\n");
    xml_open(&x, "XRD", "http://docs.oasis-open.org/ns/xri/xrd-1.0");
    for (unsigned i = 0; i < LINKS; i++) {
        if (setting_text(links[i].path)[0] == '\0')
            continue;
        buf_clear(&url);
        link_url(r, i, &url);
        xml_raw(&x, SLICE("\n  "));
        xml_open_with(&x, "Link", NULL, "rel", slice_of(links[i].rel));
        xml_attr(&x, "href", buf_fit(&url));
        xml_close(&x);
    }
    xml_raw(&x, SLICE("\n"));
    xml_close(&x);
    buf_lit(&b, "\n");
    host_meta_answer(r, "application/xrd+xml; charset=utf-8", &b);
    buf_fini(&url);
    buf_fini(&b);
}

static void as_json(struct http_request *r)
{
    struct buf b, url;
    const char *between = "";
    buf_init(&b, XML_PART_MAX);
    buf_init(&url, XML_PART_MAX);
    buf_lit(&b, "{\"links\": [");
    for (unsigned i = 0; i < LINKS; i++) {
        if (setting_text(links[i].path)[0] == '\0')
            continue;
        buf_clear(&url);
        link_url(r, i, &url);
        buf_printf(&b, "%s\n  {\"rel\": \"%s\", \"href\": ", between, links[i].rel);
        json_text(&b, buf_fit(&url));
        buf_lit(&b, "}");
        between = ",";
    }
    buf_lit(&b, "\n]}\n");
    host_meta_answer(r, "application/json", &b);
    buf_fini(&url);
    buf_fini(&b);
}

static const struct http_route routes[] = {
    { .path = "/.well-known/host-meta",
      .methods = HTTP_M_GET,
      .flags = HTTP_CORS,
      .handle = as_xml },
    { .path = "/.well-known/host-meta.json",
      .methods = HTTP_M_GET,
      .flags = HTTP_CORS,
      .handle = as_json },
    { 0 },
};

const struct feature host_meta_feature = {
    .name = "host_meta",
    .xeps =
        (const struct xep[]){
            { "0156", "1.1.5", "Discovering Alternative XMPP Connection Methods", "0.1.0",
              "stream/test_http", "the HTTP lookup; DNS records are the operator's" },
            { 0 },
        },
    .http = routes,
};
