/* The reader beside expat (namespace mode, handlers that do nothing) on the same bytes: nanoseconds
 * a stanza and GB/s. The chat messages have different lengths, as real ones do, so that the
 * processor cannot predict all branches. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "codec/xml_elem.h"
#include "codec/xml_read.h"
#include <expat.h>
#include <stdio.h>

enum { CHATS = 64, BYTES_MAX = 1 << 20, MEASURE_US = 300000 };

static const char header[] = "<stream:stream xmlns='jabber:client' version='1.0' "
                             "xmlns:stream='http://etherx.jabber.org/streams'>";
static const struct xml_limits limits = {
    .unit_bytes = 1 << 20, .depth = 64, .attrs = 64, .name_bytes = 256
};

static void report(const char *sample, const char *who, double us, double stanzas, double bytes)
{
    printf("xml_%s_%s %.0f ns\n", sample, who, us * 1000 / stanzas);
    printf("xml_%s_%s_rate %.2f GB/s\n", sample, who, bytes / us / 1000);
}

/* Reads all stanzas in `text`; bytes come `step` at a time. */
static unsigned read_all(struct xml_reader *r, struct xml_work *w, slice text, size_t step)
{
    unsigned stanzas = 0;
    size_t used;
    for (size_t seen = step; text.len > 0; text = slice_from(text, used)) {
        if (seen > text.len)
            seen = text.len;
        enum xml_unit unit = xml_read(r, w, (slice){ text.ptr, seen }, &used);
        ensure(unit == XML_STANZA || unit == XML_MORE);
        stanzas += unit == XML_STANZA;
        seen -= used;
        if (unit == XML_MORE || seen == 0)
            seen += step;
    }
    return stanzas;
}

static void bench_reader(const char *sample, const char *who, slice text, size_t step)
{
    struct xml_work *w = xml_work_create();
    struct xml_reader r;
    size_t used;
    xml_reader_init(&r, &limits);
    enum xml_unit unit = xml_read(&r, w, slice_of(header), &used);
    ensure(unit == XML_STREAM);
    double stanzas = 0, bytes = 0;
    uint64_t start = clock_mono_us(), took;
    do {
        stanzas += read_all(&r, w, text, step);
        bytes += (double)text.len;
        took = clock_mono_us() - start;
    } while (took < MEASURE_US);
    report(sample, who, (double)took, stanzas, bytes);
    xml_reader_fini(&r);
    xml_work_destroy(&w);
}

static void on_start(void *arg, const XML_Char *name, const XML_Char **attrs)
{
    (void)name, (void)attrs;
    ++*(unsigned *)arg;
}
static void on_end(void *arg, const XML_Char *name) { (void)arg, (void)name; }
static void on_text(void *arg, const XML_Char *text, int len) { (void)arg, (void)text, (void)len; }

static void bench_expat(const char *sample, slice text, double stanzas_each)
{
    unsigned elements = 0;
    XML_Parser p = XML_ParserCreateNS("UTF-8", '\n');
    XML_SetUserData(p, &elements);
    XML_SetElementHandler(p, on_start, on_end);
    XML_SetCharacterDataHandler(p, on_text);
    XML_Parse(p, header, sizeof header - 1, XML_FALSE);
    double stanzas = 0, bytes = 0;
    uint64_t start = clock_mono_us(), took;
    do {
        enum XML_Status status = XML_Parse(p, text.ptr, (int)text.len, XML_FALSE);
        ensure(status == XML_STATUS_OK);
        stanzas += stanzas_each;
        bytes += (double)text.len;
        took = clock_mono_us() - start;
    } while (took < MEASURE_US);
    report(sample, "expat", (double)took, stanzas, bytes);
    XML_ParserFree(p);
}

/* What stanza code does: find the body of every message. */
static void bench_elem(const char *sample, slice text, double stanzas_each)
{
    double stanzas = 0, bytes = 0;
    uint64_t start = clock_mono_us(), took;
    do {
        struct elem message, body;
        for (slice rest = text; elem_parse(&message, rest, SLICE("jabber:client"));) {
            bool found = elem_child(&message, "body", "jabber:client", &body);
            ensure(found);
            rest = slice_from(rest, message.whole.len);
        }
        stanzas += stanzas_each;
        bytes += (double)text.len;
        took = clock_mono_us() - start;
    } while (took < MEASURE_US);
    report(sample, "elem", (double)took, stanzas, bytes);
}

static void make_chats(struct buf *out, const char *letter)
{
    buf_clear(out);
    for (unsigned i = 0; i < CHATS; i++) {
        buf_printf(out,
                   "<message to='user.%u@im.example.test/phone' type='chat' id='m-%u%.*s' "
                   "xml:lang='en'><body>",
                   i * 37, i, (int)(i * 5 % 23), "0123456789abcdefghijklm");
        for (size_t n = 0; n < 60 + i * 7 % 80; n += strlen(letter))
            buf_printf(out, "%s", letter);
        buf_lit(out, "</body><request xmlns='urn:xmpp:receipts'/>"
                     "<active xmlns='http://jabber.org/protocol/chatstates'/></message>");
    }
}

static void make_roster(struct buf *out)
{
    buf_clear(out);
    buf_lit(out, "<iq type='result' id='roster1'><query xmlns='jabber:iq:roster' ver='17'>");
    for (unsigned i = 0; out->len < 16384; i++)
        buf_printf(out,
                   "<item jid='contact.%u@im.example.test' name='Contact No. %u' "
                   "subscription='both'><group>Colleagues</group></item>",
                   i * 7919, i);
    buf_lit(out, "</query></iq>");
}

static void make_base64(struct buf *out)
{
    buf_clear(out);
    buf_lit(out, "<message to='a@example.test'><body>");
    for (unsigned i = 0; i < 200 * 1024; i++)
        buf_append(out, &"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[i % 64],
                   1);
    buf_lit(out, "</body></message>");
}

static void bench(const char *sample, const struct buf *text, unsigned stanzas)
{
    printf("xml_%s_bytes %zu bytes\n", sample, text->len / stanzas);
    bench_reader(sample, "muster", buf_slice(text), text->len);
    bench_expat(sample, buf_slice(text), stanzas);
}

int main(void)
{
    struct buf text;
    buf_init(&text, BYTES_MAX);
    make_chats(&text, "x");
    bench("chat", &text, CHATS);
    bench_reader("chat", "split100", buf_slice(&text), 100);
    bench_reader("chat", "split1", buf_slice(&text), 1);
    bench_elem("chat", buf_slice(&text), CHATS);
    make_chats(&text, "\xd0\xb6");
    bench("chat_cyrillic", &text, CHATS);
    make_roster(&text);
    bench("roster", &text, 1);
    make_base64(&text);
    bench("base64", &text, 1);
    buf_fini(&text);
    return 0;
}
