#include "notify/snmp.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/host_port.h"
#include "base/setting.h"
#include "core/feature.h"
#include "home/here.h"
#include "home/node.h"
#include "io/address.h"
#include "io/resolve.h"
#include "notify/outbound.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* No number of an enterprise is ours: this is below netSnmpPlaypen, which net-snmp leaves to
 * everybody. docs/MUSTER-MIB.txt says the same. */
#define MIB "1.3.6.1.4.1.8072.9999.9999.5222"

enum {
    DEADLINE_MS = 10000, /* three tries of 2 s are shorter */
    CONF_BYTES_MAX = 4096,
    ENGINE_BYTES_MAX = 32,  /* RFC 3411 §5, SnmpEngineID */
    PASSWORD_BYTES_MIN = 8, /* RFC 3414 §11.2 */
    EPOCH_S = 1704067200,   /* 2024: engine times are below 2^31 (RFC 3414 §2.2.2) until 2092 */
    ARGUMENTS_MAX = 40
};

/* Of one line, for a file of settings. */
static bool snmp_word_ok(slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] < ' ' || text.ptr[i] == 0x7f)
            return false;
    return true;
}

static bool snmp_password_ok(slice text)
{
    return text.len == 0 || (text.len >= PASSWORD_BYTES_MIN && snmp_word_ok(text));
}

static bool snmp_host_ok(slice text)
{
    return text.len == 0 || host_port_is_name(text) || host_port_is_ipv4(text) ||
           host_port_is_ipv6(text);
}

static const char *const versions[] = { "v2c", "v3", NULL };
static const char *const auth_kinds[] = { "none", "SHA", "SHA-256", "SHA-512", NULL };
static const char *const privacy_kinds[] = { "none", "AES", "AES-256", NULL };

#define SNMP_SECRET(NAME, CHECK, FORM, DOC)                                                        \
    {                                                                                              \
        .name = (NAME), .scope = SCOPE_NODE, .type = PARAM_SECRET, .def_text = "", .max = 128,     \
        .check = (CHECK), .form = (FORM), .doc = (DOC)                                             \
    }
#define SNMP_CHOICE(NAME, CHOICES, DEFAULT, DOC)                                                   \
    {                                                                                              \
        .name = (NAME), .scope = SCOPE_NODE, .type = PARAM_CHOICE, .choices = (CHOICES),           \
        .def = (DEFAULT), .doc = (DOC)                                                             \
    }

static struct setting community =
    SNMP_SECRET("snmp.community", snmp_word_ok, "printable characters",
                "The community of SNMP v2c. Another value of snmp.receiver clears it.");
static struct setting receiver = {
    .name = "snmp.receiver",
    .scope = SCOPE_NODE,
    .type = PARAM_TEXT,
    .def_text = "",
    .max = 253,
    .check = snmp_host_ok,
    .form = "a host name or an IP address, or empty",
    .secret = &community,
    .doc = "The manager of SNMP that is told of alarms (alarm.snmp). Empty: none. Another value "
           "clears snmp.community.",
};
static struct setting port = {
    .name = "snmp.port",
    .scope = SCOPE_NODE,
    .type = PARAM_INT,
    .def = 162,
    .min = 1,
    .max = 65535,
    .doc = "UDP port of snmp.receiver.",
};
static struct setting confirm = {
    .name = "snmp.confirm",
    .scope = SCOPE_NODE,
    .type = PARAM_BOOL,
    .def = true,
    .doc = "Whether the manager has to confirm what it got (an inform request). Off: a trap, of "
           "which nobody knows whether it arrived.",
};
static struct setting version = SNMP_CHOICE(
    "snmp.version", versions, 1,
    "Version of SNMP: v2c with snmp.community, which everybody on the way can read, or v3 with "
    "snmp.user.");
static struct setting user = {
    .name = "snmp.user",
    .scope = SCOPE_NODE,
    .type = PARAM_TEXT,
    .def_text = "",
    .max = 32,
    .check = snmp_word_ok,
    .form = "printable characters",
    .doc = "The user of SNMP v3 that the manager knows.",
};
static struct setting auth =
    SNMP_CHOICE("snmp.auth", auth_kinds, 2,
                "How messages of SNMP v3 are signed, with snmp.auth-password. Without a signature "
                "nothing is encrypted.");
static struct setting auth_password =
    SNMP_SECRET("snmp.auth-password", snmp_password_ok, "8 printable characters or more",
                "The password for signatures of snmp.user.");
static struct setting privacy =
    SNMP_CHOICE("snmp.privacy", privacy_kinds, 1,
                "How messages of SNMP v3 are encrypted, with snmp.privacy-password.");
static struct setting privacy_password =
    SNMP_SECRET("snmp.privacy-password", snmp_password_ok, "8 printable characters or more",
                "The password for the encryption of snmp.user.");

/* RFC 3411 §5: the first bit, the number of net-snmp, 4 for a text: the name of the node, which a
 * manager has to know where traps of v3 are sent without a confirmation. */
static void engine_id(const struct worker *w, char out[2 * ENGINE_BYTES_MAX + 3])
{
    const char *name = worker_node(w)->name;
    int at = snprintf(out, 2 * ENGINE_BYTES_MAX + 3, "0x80001f8804");
    for (size_t i = 0; name[i] != '\0' && i < ENGINE_BYTES_MAX - 5; i++)
        at += snprintf(out + at, 3, "%02x", (unsigned char)name[i]);
}

static bool is_v3(void) { return setting_int(&version) == 1; }
static bool is_signed(void) { return is_v3() && setting_int(&auth) > 0; }
static bool is_encrypted(void) { return is_signed() && setting_int(&privacy) > 0; }

static const char *snmp_missing(void)
{
    if (*setting_text(&receiver) == '\0')
        return "no manager is given (snmp.receiver)";
    if (!is_v3() && *setting_text(&community) == '\0')
        return "no community is given (snmp.community)";
    if (is_v3() && *setting_text(&user) == '\0')
        return "no user is given (snmp.user)";
    if (is_signed() && *setting_text(&auth_password) == '\0')
        return "no password is given (snmp.auth-password)";
    if (is_encrypted() && *setting_text(&privacy_password) == '\0')
        return "no password is given (snmp.privacy-password)";
    return NULL;
}

/* The file for the program. */

/* A text in quotation marks; the program takes words without them only. */
static void add_conf(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, "%s \"", name);
    for (; *value != '\0'; value++) {
        if (*value == '"' || *value == '\\')
            buf_lit(out, "\\");
        buf_append(out, value, 1);
    }
    buf_lit(out, "\"\n");
}

static void write_conf(struct buf *out)
{
    if (!is_v3()) {
        buf_lit(out, "defVersion 2c\n");
        add_conf(out, "defCommunity", setting_text(&community));
        return;
    }
    buf_printf(out, "defVersion 3\ndefSecurityLevel %s\n",
               is_encrypted() ? "authPriv"
               : is_signed()  ? "authNoPriv"
                              : "noAuthNoPriv");
    add_conf(out, "defSecurityName", setting_text(&user));
    if (is_signed()) {
        buf_printf(out, "defAuthType %s\n", auth_kinds[setting_int(&auth)]);
        add_conf(out, "defAuthPassphrase", setting_text(&auth_password));
    }
    if (is_encrypted()) {
        buf_printf(out, "defPrivType %s\n", privacy_kinds[setting_int(&privacy)]);
        add_conf(out, "defPrivPassphrase", setting_text(&privacy_password));
    }
}

/* In the folder of systemd, which is in memory: an alarm of a full disk is told, too. It may be a
 * list, of which the first is ours. */
static const char *snmp_folder(struct snmp_errand *e)
{
    const char *run = getenv("RUNTIME_DIRECTORY");
    if (run == NULL || *run != '/')
        return arena_printf(e->arena, "%s/snmp", worker_node(e->worker)->data);
    return arena_printf(e->arena, "%.*s/snmp", (int)strcspn(run, ":"), run);
}

static void remove_conf(struct snmp_errand *e)
{
    const char *folder = snmp_folder(e);
    (void)unlink(arena_printf(e->arena, "%s/snmp.conf", folder));
    (void)unlink(arena_printf(e->arena, "%s/snmpapp.conf", folder)); /* the program's */
    (void)rmdir(arena_printf(e->arena, "%s/cert_indexes", folder));
    (void)rmdir(folder);
}

static bool put_conf(struct snmp_errand *e)
{
    const char *folder = snmp_folder(e);
    struct buf text;
    remove_conf(e); /* of a process that was killed */
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return false;
    int fd = open(arena_printf(e->arena, "%s/snmp.conf", folder),
                  O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    buf_init(&text, CONF_BYTES_MAX);
    write_conf(&text);
    slice all = buf_fit(&text);
    bool written = !text.overflow && write(fd, all.ptr, all.len) == (ssize_t)all.len;
    buf_fini(&text);
    return close(fd) == 0 && written;
}

/* The errand. */

static void snmp_end(struct snmp_errand *e, const char *why)
{
    ensure(e->resolve == NULL && e->child.loop == NULL);
    remove_conf(e);
    arena_destroy(&e->arena);
    e->done(e, why);
}

static void snmp_over(struct loop_defer *d)
{
    struct snmp_errand *e = CONTAINER_OF(d, struct snmp_errand, over);
    snmp_end(e, e->why);
}

static void snmp_end_later(struct snmp_errand *e, const char *why)
{
    snprintf(e->why, sizeof e->why, "%s", why);
    e->over.fn = snmp_over;
    loop_defer(worker_loop(e->worker), &e->over);
}

/* "snmptrap: Timeout" says less than what follows from it. */
static void snmp_sent(struct child *c, int code, const char *text)
{
    struct snmp_errand *e = CONTAINER_OF(c, struct snmp_errand, child);
    const char *last = strrchr(text, '\n');
    if (code == 0) {
        snmp_end(e, NULL);
        return;
    }
    if (strstr(text, "Timeout") != NULL)
        last = "the manager has not confirmed it: it does not run, or refuses the user, password "
               "or community without an answer";
    else
        last = last != NULL ? last + 1 : *text != '\0' ? text : "snmptrap failed";
    snprintf(e->why, sizeof e->why, "%s", last);
    snmp_end(e, e->why);
}

/* The arguments of the program. */
struct words {
    struct arena *arena;
    char *list[ARGUMENTS_MAX];
    unsigned count;
};

static void add_word(struct words *a, const char *word)
{
    ensure(a->count < ARGUMENTS_MAX - 1);
    a->list[a->count++] = arena_printf(a->arena, "%s", word);
}

static void add_object(struct words *a, unsigned object, const char *type, const char *value)
{
    add_word(a, arena_printf(a->arena, MIB ".1.%u.0", object));
    add_word(a, type);
    add_word(a, value);
}

static void add_notice(struct words *a, const struct snmp_notice *n)
{
    char stamp[CLOCK_STAMP_LEN];
    clock_stamp(stamp, n->at_us);
    add_word(a, ""); /* sysUpTime: that of the machine */
    add_word(a, arena_printf(a->arena, MIB ".0.%u", n->kind));
    add_object(a, 1, "s", n->node);
    add_object(a, 2, "s", n->alarm);
    add_object(a, 3, "i", arena_printf(a->arena, "%u", n->severity));
    add_object(a, 4, "s", n->text);
    add_object(a, 5, "s", n->detail);
    add_object(a, 6, "s", n->action);
    add_object(a, 7, "s", stamp);
}

static void snmp_run(struct snmp_errand *e, const union address *to)
{
    char address[ADDRESS_TEXT_BYTES], engine[2 * ENGINE_BYTES_MAX + 3];
    struct words a = { .arena = e->arena };
    const char *folder = snmp_folder(e), *path = getenv("PATH");
    address_print(to, address);
    engine_id(e->worker, engine);
    add_word(&a, "snmptrap");
    if (setting_bool(&confirm))
        add_word(&a, "-Ci");
    add_word(&a, "-t2");
    add_word(&a, "-r2");
    if (is_v3() && !setting_bool(&confirm)) {
        add_word(&a, "-e");
        add_word(&a, engine);
        add_word(&a, arena_printf(e->arena, "-Z1,%llu",
                                  (unsigned long long)(clock_wall_us() / 1000000 - EPOCH_S)));
    }
    add_word(&a, "--"); /* a text may begin with "-" */
    add_word(&a, arena_printf(e->arena, "%s:%s", to->any.sa_family == AF_INET6 ? "udp6" : "udp",
                              address));
    add_notice(&a, &e->notice);
    char *const env[] = { arena_printf(e->arena, "PATH=%s",
                                       path != NULL ? path : "/usr/local/bin:/usr/bin:/bin"),
                          arena_printf(e->arena, "SNMPCONFPATH=%s", folder),
                          arena_printf(e->arena, "SNMP_PERSISTENT_DIR=%s", folder),
                          arena_printf(e->arena, "MIBS="),
                          arena_printf(e->arena, "POSIXLY_CORRECT=1"),
                          NULL };
    if (!put_conf(e)) {
        e->ours = true;
        snmp_end_later(e,
                       arena_printf(e->arena, "the file for snmptrap cannot be written in %s: %s",
                                    folder, strerror(errno)));
        return;
    }
    e->child.done = snmp_sent;
    const char *why = child_start(&e->child, worker_loop(e->worker), a.list, env, DEADLINE_MS);
    e->ours = why != NULL;
    if (why != NULL)
        snmp_end_later(
            e, arena_printf(e->arena, "snmptrap: %s%s", why,
                            strcmp(why, "not found") == 0 ? "; install it: apt install snmp" : ""));
}

static void snmp_resolved(void *arg, const struct resolved *result)
{
    struct snmp_errand *e = arg;
    e->resolve = NULL;
    if (result->end == RESOLVE_FOUND)
        snmp_run(e, &result->address[0]);
    else
        snmp_end_later(e,
                       arena_printf(e->arena, "%s: %s", setting_text(&receiver), result->reason));
}

static void copy_notice(struct snmp_errand *e, const struct snmp_notice *n)
{
    e->notice = *n;
    e->notice.node = arena_printf(e->arena, "%s", n->node);
    e->notice.alarm = arena_printf(e->arena, "%s", n->alarm);
    e->notice.text = arena_printf(e->arena, "%s", n->text);
    e->notice.detail = arena_printf(e->arena, "%s", n->detail);
    e->notice.action = arena_printf(e->arena, "%s", n->action);
}

void snmp_send(struct snmp_errand *e, struct worker *w, const struct snmp_notice *notice)
{
    const char *host = setting_text(&receiver), *why = snmp_missing();
    struct resolver *resolver = outbound_resolver(w);
    uint16_t to_port = (uint16_t)setting_int(&port);
    union address to;
    ensure(e->arena == NULL);
    e->worker = w;
    e->arena = arena_create(0);
    copy_notice(e, notice);
    e->ours = why != NULL;
    bool six = strchr(host, ':') != NULL;
    const char *both = arena_printf(e->arena, six ? "[%s]:%u" : "%s:%u", host, to_port);
    if (why != NULL)
        snmp_end_later(e, why);
    else if (address_parse(slice_of(both), &to))
        snmp_run(e, &to);
    else if (resolver == NULL)
        snmp_end_later(e, "the manager cannot be looked up");
    else
        e->resolve = resolve_host(resolver, slice_of(host), to_port, snmp_resolved, e);
}

void snmp_cancel(struct snmp_errand *e)
{
    if (e->arena == NULL)
        return;
    resolve_cancel(&e->resolve);
    child_cancel(&e->child);
    loop_defer_cancel(&e->over);
    remove_conf(e);
    arena_destroy(&e->arena);
}

static void run_show(struct command_call *call)
{
    char engine[2 * ENGINE_BYTES_MAX + 3];
    const char *missing = snmp_missing();
    engine_id(call->worker, engine);
    command_row(call);
    command_text(call, "engine_id", slice_dup(call->arena, slice_of(engine)));
    command_text(call, "oid", slice_of(MIB));
    command_text(call, "missing", slice_of(missing != NULL ? missing : ""));
    command_done(call, "%s", "");
}

static struct command show_command = {
    .name = "snmp show",
    .rest = "GET /snmp",
    .effect = COMMAND_READS,
    .area = "server",
    .run = run_show,
    .doc = "Shows what a manager of SNMP has to know of this node.",
    .columns =
        (const struct command_column[]){
            { .name = "engine_id",
              .doc = "the engine of SNMP v3, which the manager has to know where snmp.confirm is "
                     "off" },
            { .name = "oid", .doc = "below it is everything of docs/MUSTER-MIB.txt" },
            { .name = "missing", .doc = "what has still to be set; empty: nothing" },
            { 0 } },
};

const struct feature snmp_feature = {
    .name = "snmp",
    .settings =
        (struct setting *const[]){ &receiver, &port, &confirm, &version, &community, &user, &auth,
                                   &auth_password, &privacy, &privacy_password, NULL },
    .commands = (struct command *const[]){ &show_command, NULL },
};
