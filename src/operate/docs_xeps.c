/* docs/xeps.md and doap.xml: what is implemented, from the rows of all features, next to what the
 * compliance suites (XEP-0479) ask for and what this server aims at. */
#include "base/arena.h"
#include "base/buf.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "operate/docs.h"
#include <stdlib.h>

enum { XEPS_MAX = 512 };

/* What a server needs for a suite; `core` and `advanced`: whether that level asks for it. */
struct suite_row {
    const char *suite, *feature;
    bool core, advanced;
    const char *needs; /* RFCs, or numbers of XEPs, separated by spaces */
};
static const struct suite_row suites[] = {
    { "Core", "Core features", true, true, "RFC6120" },
    { "Core", "TLS", true, true, "RFC7590" },
    { "Core", "Direct TLS", false, true, "0368" },
    { "Core", "Feature discovery", true, true, "0030" },
    { "Core", "Feature broadcasts", false, true, "0115" },
    { "Core", "Server extensibility", true, true, "0114" },
    { "Core", "Event publishing", false, true, "0163" },
    { "Web", "Web connection mechanisms", true, true, "RFC7395 0206 0124" },
    { "Web", "Connection mechanism discovery", false, false, "0156" },
    { "IM", "Core features", true, true, "RFC6121" },
    { "IM", "User avatar compatibility", false, true, "0398 0153" },
    { "IM", "vcard-temp", true, true, "0054" },
    { "IM", "Outbound message synchronization", true, true, "0280" },
    { "IM", "User blocking", false, true, "0191" },
    { "IM", "Group chat", true, true, "0045 0249" },
    { "IM", "Advanced group chat", false, true, "0048 0313 0402 0410" },
    { "IM", "Private data via PubSub", false, true, "0223" },
    { "IM", "Private XML storage", false, true, "0049" },
    { "IM", "Stream management", false, true, "0198" },
    { "IM", "History", false, true, "0313" },
    { "IM", "File upload", true, true, "0363" },
    { "Mobile", "Stream management", true, true, "0198" },
    { "Mobile", "Client state indication", true, true, "0352" },
    { "Mobile", "Third-party push notifications", false, true, "0357" },
    { "A/V", "STUN/TURN server discovery", true, true, "0215" },
};

/* The XEPs that this server aims to implement. Those that are missing are listed at the end of the
 * page. */
static const char required[] = "0004 0012 0013 0016 0030 0045 0054 0055 0060 0065 0066 0068 0071 "
                               "0082 0092 0106 0114 0115 0124 0126 0128 0160 0163 0170 0178 0220 "
                               "0273";

static const char *const rfcs[][3] = {
    { "RFC6120", "XMPP: Core", "stream/test_stream" },
    { "RFC6121", "XMPP: Instant Messaging and Presence", "im/test_subscription" },
    { "RFC7395", "XMPP subprotocol for WebSocket", "stream/test_websocket" },
    { "RFC7590", "Use of TLS in XMPP", "stream/test_stream" },
    { "RFC7622", "XMPP: Address Format", "jid_test" },
};

static int by_number(const void *a, const void *b)
{
    return strcmp((*(const struct xep *const *)a)->number, (*(const struct xep *const *)b)->number);
}

/* Each once, by number. */
static size_t docs_xeps_gather(const struct xep *rows[XEPS_MAX])
{
    size_t n = 0, kept = 0;
    FEATURES_EACH (f, xeps)
        for (const struct xep *x = f->xeps; x->number != NULL; x++)
            if (n < XEPS_MAX)
                rows[n++] = x;
    qsort(rows, n, sizeof rows[0], by_number);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || strcmp(rows[kept - 1]->number, rows[i]->number) != 0)
            rows[kept++] = rows[i];
    return kept;
}

static const struct xep *docs_xeps_row_of(const struct xep *const *rows, size_t count, slice number)
{
    for (size_t i = 0; i < count; i++)
        if (slice_eq(slice_of(rows[i]->number), number))
            return rows[i];
    return NULL;
}

static bool is_rfc(slice name)
{
    for (size_t i = 0; i < sizeof rfcs / sizeof rfcs[0]; i++)
        if (slice_eq(slice_of(rfcs[i][0]), name))
            return true;
    return false;
}

/* Adds the names and strikes out the missing ones. Returns the number of missing ones. */
static unsigned add_needs(struct buf *out, const struct xep *const *rows, size_t count, slice needs)
{
    unsigned missing = 0;
    const char *between = "";
    slice one;
    while (slice_word(&needs, &one)) {
        bool have = is_rfc(one) || docs_xeps_row_of(rows, count, one) != NULL;
        buf_printf(out, have ? "%s%.*s" : "%s~~%.*s~~", between, SLICE_ARG(one));
        between = ", ";
        missing += !have;
    }
    return missing;
}

static void add_test(struct buf *out, const char *test)
{
    bool unit = strchr(test, '/') == NULL; /* the others are in a folder of test/ */
    buf_printf(out, "`%s%s%s`", unit ? "" : "test/", test, unit ? ".c" : ".py");
}

static void add_suites(struct buf *out, const struct xep *const *rows, size_t count)
{
    buf_lit(
        out,
        "\n## Compliance suites (XEP-0479, 2023), server side\n\n"
        "| suite | feature | core | advanced | needs | implemented |\n|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof suites / sizeof suites[0]; i++) {
        const struct suite_row *s = &suites[i];
        buf_printf(out, "| %s | %s | %s | %s | ", s->suite, s->feature, s->core ? "yes" : "",
                   s->advanced ? "yes" : "");
        unsigned missing = add_needs(out, rows, count, slice_of(s->needs));
        buf_printf(out, " | %s |\n", missing == 0 ? "yes" : "not yet");
    }
}

static void add_required(struct buf *out, const struct xep *const *rows, size_t count)
{
    slice rest = slice_of(required), one;
    const char *between = "";
    buf_lit(out, "\n## Not implemented yet\n\nPlanned: ");
    while (slice_word(&rest, &one)) {
        if (docs_xeps_row_of(rows, count, one) != NULL)
            continue;
        buf_printf(out, "%sXEP-%.*s", between, SLICE_ARG(one));
        between = ", ";
    }
    buf_printf(out, "%s\n", *between == '\0' ? "Nothing." : ".");
}

void docs_xeps(struct buf *out)
{
    const struct xep *rows[XEPS_MAX];
    size_t count = docs_xeps_gather(rows);
    buf_lit(
        out,
        "<!-- Generated by `make docs` from the rows in src/; do not edit. -->\n"
        "# Standards\n\n"
        "The standards that Muster implements, with the version of the specification, the first\n"
        "version of Muster that has it, and a test. `doap.xml` contains the same for programs.\n\n"
        "| RFC | title | test |\n|---|---|---|\n");
    for (size_t i = 0; i < sizeof rfcs / sizeof rfcs[0]; i++) {
        buf_printf(out, "| %s | %s | ", rfcs[i][0], rfcs[i][1]);
        add_test(out, rfcs[i][2]);
        buf_lit(out, " |\n");
    }
    buf_lit(out, "\n| XEP | title | version | since | test | note |\n|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < count; i++) {
        const struct xep *x = rows[i];
        buf_printf(out, "| [%s](https://xmpp.org/extensions/xep-%s.html) | %s | %s | %s | ",
                   x->number, x->number, x->title, x->version, x->since);
        add_test(out, x->test);
        buf_printf(out, " | %s |\n", x->note == NULL ? "" : x->note);
    }
    add_suites(out, rows, count);
    add_required(out, rows, count);
}

static void add_supported(struct buf *out, const struct xep *x)
{
    buf_printf(out,
               "    <implements>\n"
               "      <xmpp:SupportedXep>\n"
               "        <xmpp:xep rdf:resource=\"https://xmpp.org/extensions/xep-%s.html\"/>\n"
               "        <xmpp:status>%s</xmpp:status>\n"
               "        <xmpp:version>%s</xmpp:version>\n"
               "        <xmpp:since>%s</xmpp:since>\n",
               x->number, x->note == NULL ? "complete" : "partial", x->version, x->since);
    if (x->note != NULL) {
        buf_lit(out, "        <xmpp:note xml:lang=\"en\">");
        xml_escape(out, slice_of(x->note));
        buf_lit(out, "</xmpp:note>\n");
    }
    buf_lit(out, "      </xmpp:SupportedXep>\n    </implements>\n");
}

void docs_doap(struct buf *out)
{
    const struct xep *rows[XEPS_MAX];
    size_t count = docs_xeps_gather(rows);
    buf_lit(out,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
            "<!-- Generated by `make docs` from the rows in src/; do not edit. -->\n"
            "<rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\"\n"
            "         xmlns=\"http://usefulinc.com/ns/doap#\"\n"
            "         xmlns:xmpp=\"https://linkmauve.fr/ns/xmpp-doap#\">\n"
            "  <Project>\n"
            "    <name>Muster</name>\n"
            "    <shortdesc xml:lang=\"en\">Enterprise instant-messaging and presence "
            "server</shortdesc>\n"
            "    <description xml:lang=\"en\">An XMPP server for companies: one binary, an archive "
            "that loses no acknowledged message, presence with policies.</description>\n"
            "    <programming-language>C</programming-language>\n"
            "    <os>Linux</os>\n"
            "    <license rdf:resource=\"https://www.apache.org/licenses/LICENSE-2.0\"/>\n"
            "    <category rdf:resource=\"https://linkmauve.fr/ns/xmpp-doap#category-server\"/>\n");
    for (size_t i = 0; i < sizeof rfcs / sizeof rfcs[0]; i++)
        buf_printf(out,
                   "    <implements rdf:resource=\"https://www.rfc-editor.org/info/rfc%s\"/>\n",
                   rfcs[i][0] + 3);
    for (size_t i = 0; i < count; i++)
        add_supported(out, rows[i]);
    buf_lit(out, "  </Project>\n</rdf:RDF>\n");
}
