/* register_page: what a browser shows of an invitation (XEP-0379 §3.3, XEP-0401 §4.2): who invites,
 * a button for the client, and which clients there are. It loads nothing and runs nothing. */
#include "base/buf.h"
#include "base/clock.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "ext/ext.h"
#include "ext/register/register_invite.h"
#include "home/here.h"
#include "http/server.h"

enum { PAGE_MAX = 32768 };

static const char style[] =
    "body{font:1.1em/1.5 system-ui,sans-serif;max-width:34em;margin:3em auto;padding:0 1em;"
    "color:#222;background:#fff}"
    "a.open{display:inline-block;padding:.7em 1.4em;border-radius:.4em;background:#0b5;"
    "color:#fff;text-decoration:none;font-weight:bold}"
    "code{word-break:break-all}";

static const struct {
    const char *name, *url, *where;
} clients[] = {
    { "Conversations", "https://conversations.im/", "Android" },
    { "Monal", "https://monal-im.org/", "iOS and macOS" },
    { "Dino", "https://dino.im/", "Linux" },
    { "Gajim", "https://gajim.org/", "Linux and Windows" },
};

static void page_open(struct buf *b, const char *title)
{
    buf_printf(b,
               "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
               "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
               "<meta name=\"robots\" content=\"noindex\">"
               "<title>%s</title><style>%s</style></head>\n<body>\n<h1>%s</h1>\n",
               title, style, title);
}

static void page_send(struct http_request *r, unsigned status, struct buf *b)
{
    buf_lit(b, "</body></html>\n");
    http_answer(r, &(struct http_answer){
                       .status = status,
                       .type = "text/html; charset=utf-8",
                       .policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
                                 "form-action 'none'; frame-ancestors 'none'",
                       .body = buf_slice(b),
                   });
    buf_fini(b);
}

static void page_none(struct http_request *r, unsigned status, const char *text)
{
    struct buf b;
    buf_init(&b, PAGE_MAX);
    page_open(&b, status == 404 ? "No invitation" : "Not now");
    buf_printf(&b, "<p>%s</p>\n", text);
    page_send(r, status, &b);
}

static void page_invitation(struct http_request *r, const struct invite *i)
{
    struct buf b, uri;
    char stamp[CLOCK_STAMP_LEN];
    buf_init(&b, PAGE_MAX);
    buf_init(&uri, PAGE_MAX);
    invite_uri(&uri, i);
    clock_stamp(stamp, i->expires_us);
    page_open(&b, "You are invited to chat");
    buf_lit(&b, "<p>");
    if (i->inviter.len > 0) {
        buf_lit(&b, "<strong>");
        xml_escape(&b, i->inviter);
        buf_lit(&b, "</strong> invites you to chat");
    } else {
        buf_lit(&b, "You are invited to make an account");
    }
    buf_lit(&b, " on <strong>");
    xml_escape(&b, i->domain);
    buf_lit(&b, "</strong>.</p>\n<p><a class=\"open\" href=\"");
    xml_escape(&b, buf_fit(&uri));
    buf_lit(&b, "\">Accept the invitation</a></p>\n"
                "<p>If this link does nothing, install a client first, and come back:</p>\n<ul>\n");
    for (size_t c = 0; c < sizeof clients / sizeof clients[0]; c++)
        buf_printf(&b, "<li><a rel=\"noreferrer\" href=\"%s\">%s</a> (%s)</li>\n", clients[c].url,
                   clients[c].name, clients[c].where);
    buf_lit(&b, "</ul>\n<p>Or give your client this address: <code>");
    xml_escape(&b, buf_fit(&uri));
    buf_printf(&b, "</code></p>\n<p>The invitation is for one account, until %.10s.</p>\n", stamp);
    buf_fini(&uri);
    page_send(r, 200, &b);
}

static void page_found(void *arg, enum err e, const struct invite *i)
{
    struct http_request *r = arg;
    r->data = NULL;
    if (e == OK && !setting_bool_of(&invite_enabled, i->domain))
        page_none(r, 404, "There are no invitations on this server.");
    else if (e == OK && !i->used && i->expires_us > loop_wall_us(r->loop))
        page_invitation(r, i);
    else if (e == OK || e == E_NOTFOUND)
        page_none(r, 404, "This invitation is unknown, was used already, or has expired.");
    else
        page_none(r, 503, "Please try again later.");
}

static void page_get(struct http_request *r)
{
    static const slice prefix = SLICE_INIT("/invite/");
    if (!setting_bool_somewhere(&invite_enabled))
        page_none(r, 404, "There are no invitations on this server.");
    else
        r->data = invite_find(worker_here(), slice_from(r->path, prefix.len), page_found, r);
}

static void page_gone(struct http_request *r)
{
    struct invite_op *op = r->data;
    r->data = NULL;
    invite_cancel(&op);
}

const struct http_route invite_routes[] = {
    { .path = "/invite/", .methods = HTTP_M_GET, .handle = page_get, .gone = page_gone },
    { 0 },
};
