#include "codec/syslog.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/host_port.h"

/* No number of an enterprise is ours: the one that RFC 5612 reserves for documents. */
#define SD_ID "muster@32473"

/* PRINTUSASCII (RFC 5424 §6), at most `max` bytes, or "-". */
static void add_syslog_word(struct buf *out, slice word, size_t max)
{
    if (word.len == 0)
        buf_lit(out, "-");
    for (size_t i = 0; i < word.len && i < max; i++) {
        char c = word.ptr[i];
        buf_append(out, c > ' ' && c < 0x7f ? &c : "_", 1);
    }
}

/* Line ends and other controls would let a value begin a message where servers split at lines. */
static void add_syslog_text(struct buf *out, slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        buf_append(out, (unsigned char)c < ' ' || c == 0x7f ? " " : &c, 1);
    }
}

/* RFC 5424 §6.3.3: ", \ and ] are escaped. */
static void add_syslog_value(struct buf *out, slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        if (c == '"' || c == '\\' || c == ']')
            buf_lit(out, "\\");
        add_syslog_text(out, (slice){ &c, 1 });
    }
}

void syslog_write(struct buf *out, const struct syslog_line *line)
{
    char stamp[CLOCK_STAMP_LEN];
    clock_stamp(stamp, line->at_us);
    buf_printf(out, "<%d>1 %s ", line->facility * 8 + (int)line->severity, stamp);
    add_syslog_word(out, line->host, SYSLOG_HOST_MAX);
    buf_lit(out, " muster - ");
    add_syslog_word(out, slice_of(line->kind), 32);
    buf_add(out, slice_of(line->fields[0].name != NULL ? " [" SD_ID : " -"));
    for (const struct syslog_field *f = line->fields; f->name != NULL; f++) {
        if (f->value.len == 0)
            continue;
        buf_printf(out, " %s=\"", f->name);
        add_syslog_value(out, f->value);
        buf_lit(out, "\"");
    }
    if (line->fields[0].name != NULL)
        buf_lit(out, "]");
    buf_lit(out, " ");
    add_syslog_text(out, line->text);
}

void syslog_frame(struct buf *out, slice message)
{
    buf_printf(out, "%zu ", message.len);
    buf_add(out, message);
}

bool syslog_unframe(slice *frames, slice *message)
{
    slice number, rest;
    int64_t len;
    if (!slice_cut(*frames, ' ', &number, &rest) || !slice_int(number, &len) || len < 0 ||
        (uint64_t)len > rest.len)
        return false;
    *message = (slice){ rest.ptr, (size_t)len };
    *frames = slice_from(rest, (size_t)len);
    return true;
}

/* The form with a length takes any byte; in the other one a line end would end the value. */
static void add_journal(struct buf *out, const char *name, slice value)
{
    uint64_t len = value.len;
    char bytes[8];
    for (const char *c = name; *c != '\0'; c++) {
        char upper = *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
        buf_append(out, &upper, 1);
    }
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(len >> (8 * i) & 0xff);
    buf_lit(out, "\n");
    buf_append(out, bytes, sizeof bytes);
    buf_add(out, value);
    buf_lit(out, "\n");
}

void syslog_journal(struct buf *out, const struct syslog_line *line)
{
    char digit = (char)('0' + (int)line->severity), stamp[CLOCK_STAMP_LEN];
    clock_stamp(stamp, line->at_us);
    add_journal(out, "MESSAGE", line->text);
    add_journal(out, "PRIORITY", (slice){ &digit, 1 });
    add_journal(out, "SYSLOG_IDENTIFIER", SLICE("muster"));
    add_journal(out, "MUSTER_KIND", slice_of(line->kind));
    add_journal(out, "MUSTER_TIME", slice_of(stamp));
    for (const struct syslog_field *f = line->fields; f->name != NULL; f++) {
        char name[64] = "MUSTER_";
        for (size_t i = 0; f->name[i] != '\0' && i + 8 < sizeof name; i++)
            name[i + 7] = f->name[i];
        if (f->value.len > 0)
            add_journal(out, name, f->value);
    }
}

bool syslog_server_read(slice text, struct syslog_server *out)
{
    static const char *const ways[] = { "udp", "tcp", "tls" };
    static const uint16_t ports[] = { 514, 601, 6514 };
    slice way, rest;
    int found = -1;
    if (!slice_cut(text, ':', &way, &rest))
        return false;
    for (int i = 0; i < 3; i++)
        if (slice_is(way, ways[i]))
            found = i;
    if (found < 0)
        return false;
    *out = (struct syslog_server){ .way = (enum syslog_way)found, .port = ports[found] };
    return host_port_read(rest, &out->host, &out->port);
}
