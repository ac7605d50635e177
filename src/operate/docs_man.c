/* docs_man: the manual pages, from the same rows as docs/ (man(7)). */
#include "admin/usage.h"
#include "app/node_keys.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/setting.h"
#include "operate/docs.h"
#include <stdlib.h>

enum { VALUE_BYTES_MAX = 512, USAGE_BYTES_MAX = 4096 };

/* Writes Markdown for troff: `x` becomes bold, [text](address) becomes its text. */
void docs_man_text(struct buf *out, slice text)
{
    bool bold = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        const char *link = c == ']' && i + 1 < text.len && text.ptr[i + 1] == '('
                               ? memchr(text.ptr + i, ')', text.len - i)
                               : NULL;
        if (c == '`') {
            bold = !bold;
            buf_printf(out, "%s", bold ? "\\fB" : "\\fR");
        } else if (link != NULL) {
            i = (size_t)(link - text.ptr);
        } else if (c == '[' && memchr(text.ptr + i, ']', text.len - i) != NULL &&
                   memmem(text.ptr + i, text.len - i, "](", 2) != NULL) {
            continue;
        } else if (c == '\\') {
            buf_lit(out, "\\e");
        } else if (c == '-') {
            buf_lit(out, "\\-");
        } else if ((c == '.' || c == '\'') && (i == 0 || text.ptr[i - 1] == '\n')) {
            buf_printf(out, "\\&%c", c);
        } else {
            buf_append(out, &c, 1);
        }
    }
    buf_printf(out, "%s\n", bold ? "\\fR" : "");
}

/* The day of $SOURCE_DATE_EPOCH, which `make install` sets; empty without it. */
static const char *man_day(char out[CLOCK_STAMP_LEN])
{
    const char *text = getenv("SOURCE_DATE_EPOCH");
    int64_t seconds;
    if (text == NULL || !slice_int(slice_of(text), &seconds))
        return "";
    clock_stamp(out, (uint64_t)seconds * 1000000);
    out[sizeof "2026-11-21" - 1] = '\0';
    return out;
}

static void head(struct buf *out, const char *page, int section, const char *what)
{
    char day[CLOCK_STAMP_LEN];
    buf_printf(out,
               ".\\\" Generated from the rows in src/.\n"
               ".TH %s %d \"%s\" \"Muster " MUSTER_VERSION "\" \"Muster\"\n"
               ".SH NAME\n%s \\- %s\n",
               page, section, man_day(day), page, what);
}

static void item_of(struct buf *out, slice name, slice text)
{
    buf_lit(out, ".TP\n.B ");
    docs_man_text(out, name);
    docs_man_text(out, text);
}

static void item(struct buf *out, slice name, const char *text)
{
    item_of(out, name, slice_of(text));
}

static void see_also(struct buf *out, const char *pages)
{
    buf_printf(out, ".SH SEE ALSO\n%s\n", pages);
}

void docs_man_musterd(struct buf *out)
{
    head(out, "musterd", 8, "XMPP server");
    buf_lit(out,
            ".SH SYNOPSIS\n.B musterd\n[\\fB\\-\\-config\\fR \\fIFILE\\fR] [\\fB\\-\\-check\\fR |\n"
            "\\fB\\-\\-restore\\fR \\fIFOLDER\\fR | \\fB\\-\\-copy\\-to\\fR \\fIURL\\fR |\n"
            "\\fB\\-\\-rename\\fR \\fIOLD\\fR \\fB\\-\\-to\\fR \\fINEW\\fR]\n"
            ".SH DESCRIPTION\n"
            "Serves XMPP clients (RFC 6120, RFC 6121), with rooms, archive, file upload, push\n"
            "and a chat page. It stays in the foreground and logs to standard error, one\n"
            "line for each event. Under systemd, lines have the priorities of journald.\n"
            ".SH OPTIONS\n");
    item(out, SLICE("--config FILE"), "The node file. The default is /etc/muster/muster.yaml.");
    item(out, SLICE("--check"),
         "Checks the node file, the certificates, the data folder and the ports, and starts "
         "nothing. Run as root, it takes the rights of the user that owns the data folder.");
    item(
        out, SLICE("--restore FOLDER"),
        "Puts a backup of musterctl backup create into the empty data folder of a server that does "
        "not run. The backup is verified first.");
    item(
        out, SLICE("--copy-to URL"),
        "Copies all data of muster.db in the data folder of a server that does not run to an empty "
        "database of PostgreSQL.");
    item(out, SLICE("--rename OLD --to NEW"),
         "Gives the account OLD (user@domain) the address NEW, with everything it has: password, "
         "contacts, messages, rooms, files. Or gives the domain OLD the name NEW, with all its "
         "accounts, rooms and services. The server does not run meanwhile.");
    item(out, SLICE("--dump-docs PART"),
         "Prints generated documentation: config, commands, alarms, xeps, doap, promises, "
         "requests, features, openapi, man-musterd, man-musterctl or man-muster.yaml.");
    item(out, SLICE("--core-dumps"),
         "Lets the system write dumps of the process, for debuggers. A dump contains keys of TLS, "
         "tokens and passwords.");
    item(out, SLICE("--version"), "Shows the version.");
    item(out, SLICE("--help"), "Shows the options.");
    buf_lit(out, ".SH SIGNALS\n");
    item(out, SLICE("SIGHUP"),
         "Reads the node file and the certificates again. `musterctl server "
         "reload` does the same and reports the result.");
    item(out, SLICE("SIGTERM, SIGINT"),
         "Ends in order, within some seconds, also instead of a restart that `musterctl server "
         "restart` has begun. A second signal ends at once.");
    buf_lit(out, ".SH EXIT STATUS\n");
    item(out, SLICE("0"), "It ended in order.");
    item(out, SLICE("1"), "The start failed.");
    item(out, SLICE("2"), "There is a mistake in the options, or --check has found one.");
    buf_lit(out, ".SH FILES\n");
    item(out, SLICE("/etc/muster/muster.yaml"), "The node file.");
    item(out, SLICE("/var/lib/muster"),
         "Database, uploaded files and the self-signed certificate.");
    item(out, SLICE("/run/muster/control.sock"), "The socket of musterctl.");
    see_also(out, ".BR musterctl (1),\n.BR muster.yaml (5),\n.BR journalctl (1)");
}

static void items_of_own(struct buf *out, const struct usage_own *rows)
{
    for (; rows->syntax != NULL; rows++)
        item(out, slice_of(rows->syntax), rows->doc);
}

void docs_man_musterctl(struct buf *out)
{
    struct buf line, note;
    buf_init(&line, USAGE_BYTES_MAX);
    buf_init(&note, USAGE_BYTES_MAX);
    head(out, "musterctl", 1, "commands a running Muster server");
    buf_lit(
        out,
        ".SH SYNOPSIS\n.B musterctl\n[\\fIOPTION\\fR]... \\fICOMMAND\\fR [\\fIARGUMENT\\fR]...\n"
        ".SH DESCRIPTION\n"
        "Speaks to\n.BR musterd (8)\nover its control socket. Root and the members of the\n"
        "socket's group (muster) may do so.\n.SH OPTIONS\n");
    items_of_own(out, usage_own_options);
    buf_lit(out, ".SH COMMANDS\n");
    items_of_own(out, usage_own_commands);
    for (const struct command *c = command_first(); c != NULL; c = c->next) {
        buf_clear(&line);
        usage_line(&line, c);
        out->overflow |= line.overflow;
        buf_clear(&note);
        usage_doc(&note, c);
        item_of(out, buf_slice(&line), buf_slice(&note));
        for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++) {
            buf_clear(&line);
            buf_clear(&note);
            usage_arg(&line, a);
            usage_note(&note, a);
            buf_lit(out, ".RS\n");
            item_of(out, buf_slice(&line), buf_slice(&note));
            buf_lit(out, ".RE\n");
            out->overflow |= line.overflow || note.overflow;
        }
    }
    buf_fini(&line);
    buf_fini(&note);
    buf_lit(out, ".SH EXIT STATUS\n");
    items_of_own(out, usage_exit_codes);
    see_also(out, ".BR musterd (8),\n.BR muster.yaml (5)");
}

static void docs_man_add_setting(struct buf *out, const struct setting *s)
{
    char range[VALUE_BYTES_MAX], def[VALUE_BYTES_MAX];
    struct arena *arena = arena_create(0);
    setting_range(s, range, sizeof range);
    setting_format(s, def, sizeof def); /* no value was set yet: the default */
    item(out, slice_of(s->name),
         arena_printf(arena, "%s Allowed: %s%s%s%s. Default: %s.%s%s%s", s->doc, range,
                      s->unit != NULL ? " (" : "", s->unit != NULL ? s->unit : "",
                      s->unit != NULL ? ")" : "", *def != '\0' ? def : "empty",
                      s->restart != NULL ? " Needs a restart of: " : "",
                      s->restart != NULL ? s->restart : "", s->restart != NULL ? "." : ""));
    arena_destroy(&arena);
}

void docs_man_yaml(struct buf *out)
{
    head(out, "muster.yaml", 5, "node file and settings of Muster");
    buf_lit(
        out,
        ".SH DESCRIPTION\n"
        "The node file says what a node needs to start: YAML, by default\n"
        "/etc/muster/muster.yaml. Relative paths count from its folder. Check it with\n"
        "\\fBmusterd \\-\\-check\\fR, apply a change with \\fBsystemctl reload muster\\fR.\n"
        "Everything else is a setting. Settings are in the database. \\fBmusterctl set\\fR "
        "changes\n"
        "them while the server runs, or the section \\fBsettings\\fR of the node file fixes them.\n"
        ".SH EXAMPLE\n.nf\n"
        "node: im1\n"
        "domains: [example.test]\n"
        "listen:\n"
        "  c2s: [\"[::]:5222\"]\n"
        "  c2s_tls: [\"[::]:5223\"]\n"
        "tls:\n"
        "  certificate: cert.pem\n"
        "  key: key.pem\n"
        "settings: {c2s.tls\\-required: on}\n"
        ".fi\n"
        ".SH KEYS\n");
    node_keys_man(out);
    buf_lit(out, ".SH SETTINGS\n");
    for (const struct setting *s = setting_first(); s != NULL; s = s->next)
        docs_man_add_setting(out, s);
    see_also(out, ".BR musterd (8),\n.BR musterctl (1)");
}
