#include "app/node_check.h"
#include "app/node_file.h"
#include "app/node_keys.h"
#include "base/buf.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static struct setting tls_required = { .name = "c2s.tls-required",
                                       .scope = SCOPE_CLUSTER,
                                       .type = PARAM_BOOL,
                                       .def = 1,
                                       .doc = "Refuses clear text." };
static struct setting timeout = { .name = "sm.timeout",
                                  .scope = SCOPE_CLUSTER,
                                  .type = PARAM_MS,
                                  .def = 60000,
                                  .min = 30000,
                                  .max = 90000,
                                  .doc = "How long a session hibernates." };

static struct buf errors;

/* The parsed file, or NULL with its mistakes, NUL-terminated, in `errors`. */
static struct node_file *parse(const char *text)
{
    struct node_file *f = NULL;
    buf_clear(&errors);
    enum err e = node_file_parse(&f, "/etc/muster/m.yaml", slice_of(text), &errors);
    assert_true((e == OK) == (f != NULL));
    assert_true((e == OK) == (errors.len == 0));
    buf_append(&errors, "", 1);
    return f;
}

static void expect_error(const char *text, const char *message)
{
    assert_null(parse(text));
    if (strstr(errors.ptr, message) == NULL)
        fail_msg("expected: %s\nfound: %s", message, errors.ptr);
}

static void a_minimal_file_has_defaults(void **state)
{
    (void)state;
    struct node_file *f = parse("domains: [Example.TEST]\n");
    assert_non_null(f);
    assert_string_equal(f->node, "muster");
    assert_int_equal(f->node_id, 1);
    assert_string_equal(f->cluster_id, "standalone");
    assert_int_equal(f->domains.count, 1);
    assert_string_equal(f->domains.name[0], "example.test");
    assert_string_equal(f->data, "/var/lib/muster");
    assert_string_equal(f->control, "/run/muster/control.sock");
    assert_string_equal(f->database, "sqlite");
    assert_int_equal(f->workers, NODE_WORKERS_AUTO);
    assert_int_equal(f->worker_pinning, 0);
    assert_int_equal(f->c2s.count, 1);
    assert_string_equal(f->c2s.item[0].address, "[::]:5222");
    assert_string_equal(f->c2s_tls.item[0].address, "[::]:5223");
    assert_null(f->certificate);
    assert_null(f->key);
    assert_int_equal(f->certs.count, 0);
    assert_int_equal(f->log_level, LOG_INFO);
    assert_int_equal(f->log_format, LOG_LOGFMT);
    assert_int_equal(f->settings.count, 0);
    node_file_free(&f);
    assert_null(f);
}

static const struct node_listen_list *listens_of(const struct node_file *f, const char *key)
{
    struct node_listens all[NODE_LISTENS];
    node_check_listens(f, all);
    for (size_t i = 0; i < NODE_LISTENS; i++)
        if (strcmp(all[i].key, key) == 0)
            return all[i].list;
    fail_msg("no listener %s", key);
    return NULL;
}

/* Whether a file with this section `listen` listens for clients where no address is given. */
static void expect_defaults(const char *listen, bool c2s, bool c2s_tls)
{
    char text[128];
    snprintf(text, sizeof text, "domains: [a.test]\nlisten: {%s}\n", listen);
    struct node_file *f = parse(text);
    assert_non_null(f);
    bool plain = f->c2s.count == 1 && strcmp(f->c2s.item[0].address, "[::]:5222") == 0;
    bool direct = f->c2s_tls.count == 1 && strcmp(f->c2s_tls.item[0].address, "[::]:5223") == 0;
    if (plain != c2s || direct != c2s_tls)
        fail_msg("listen: {%s}: 5222 %d, 5223 %d", listen, plain, direct);
    node_file_free(&f);
}

static void a_listener_for_clients_ends_the_default_of_the_other(void **state)
{
    (void)state;
    expect_defaults("c2s: ['127.0.0.1:0']", false, false);
    expect_defaults("c2s_tls: ['127.0.0.1:0']", false, false);
    expect_defaults("c2s: ['[::]:5222']", true, false);
    expect_defaults("c2s: []", false, true);
    expect_defaults("c2s_tls: []", true, false);
    expect_defaults("c2s: [], c2s_tls: []", false, false);
}

/* All kinds: no one is opened that the file does not name, but those for clients. */
static void no_other_listener_has_a_default(void **state)
{
    struct node_listens all[NODE_LISTENS];
    struct node_file *f = parse("domains: [a.test]\n");
    (void)state;
    node_check_listens(f, all);
    for (size_t i = 0; i < NODE_LISTENS; i++) {
        char text[128];
        bool clients = strncmp(all[i].key, "c2s", 3) == 0;
        assert_int_equal(all[i].list->count, clients ? 1 : 0);
        if (clients)
            continue;
        snprintf(text, sizeof text, "%s: ['127.0.0.1:0']", all[i].key);
        expect_defaults(text, true, true);
        snprintf(text, sizeof text, "domains: [a.test]\nlisten: {%s: ['127.0.0.1:0']}\n",
                 all[i].key);
        struct node_file *one = parse(text);
        for (size_t k = 0; k < NODE_LISTENS; k++)
            assert_int_equal(listens_of(one, all[k].key)->count,
                             k == i || strncmp(all[k].key, "c2s", 3) == 0 ? 1 : 0);
        node_file_free(&one);
    }
    node_file_free(&f);
}

static void every_key_is_read(void **state)
{
    (void)state;
    struct node_file *f = parse(
        "node: im1\nnode_id: 7\ncluster_id: north-1\ndomains: [a.test, b.test]\n"
        "data: data\ndatabase: sqlite\ncontrol: /tmp/c.sock\nworkers: 3\nworker_pinning: on\n"
        "listen:\n  c2s: ['127.0.0.1:5222', {address: '[::1]:0', proxy: true}]\n  c2s_tls: []\n"
        "tls:\n  certificate: cert.pem\n  key: /keys/key.pem\n"
        "  domains: {b.test: {certificate: b.pem, key: b.key}}\n"
        "log: {level: debug, format: json}\n"
        "settings: {c2s.tls-required: off, sm.timeout: 45s}\n");
    assert_non_null(f);
    assert_string_equal(f->node, "im1");
    assert_int_equal(f->node_id, 7);
    assert_string_equal(f->cluster_id, "north-1");
    assert_int_equal(f->domains.count, 2);
    assert_string_equal(f->data, "/etc/muster/data");
    assert_string_equal(f->control, "/tmp/c.sock");
    assert_int_equal(f->workers, 3);
    assert_int_equal(f->worker_pinning, 1);
    assert_int_equal(f->c2s.count, 2);
    assert_int_equal(f->c2s.item[0].proxy, 0);
    assert_string_equal(f->c2s.item[1].address, "[::1]:0");
    assert_int_equal(f->c2s.item[1].proxy, 1);
    assert_int_equal(f->c2s_tls.count, 0);
    assert_string_equal(f->certificate, "/etc/muster/cert.pem");
    assert_string_equal(f->key, "/keys/key.pem");
    assert_int_equal(f->certs.count, 1);
    assert_string_equal(f->certs.item[0].domain, "b.test");
    assert_string_equal(f->certs.item[0].key, "/etc/muster/b.key");
    assert_int_equal(f->log_level, LOG_DEBUG);
    assert_int_equal(f->log_format, LOG_JSON);
    assert_int_equal(f->settings.count, 2);
    assert_ptr_equal(f->settings.item[1].setting, &timeout);
    assert_true(slice_is(f->settings.item[1].value, "45s"));
    node_file_free(&f);
}

/* Every key once with a wrong type, and once out of range where it has one. Line 2 is the mistake.
 */
static const struct {
    const char *line, *message;
} wrong[] = {
    { "node: [a]", "m.yaml:2: key 'node': found a list, allowed 1 to 63 letters" },
    { "node: a_b", "found \"a_b\", allowed 1 to 63 letters, digits and hyphens" },
    { "node:", "key 'node': found nothing, allowed" },
    { "node_id: one", "key 'node_id': found \"one\", allowed a number from 1 to 65535" },
    { "node_id: 0", "key 'node_id': found \"0\"" },
    { "node_id: 65536", "key 'node_id': found \"65536\"" },
    { "cluster_id: {a: b}", "key 'cluster_id': found a section" },
    { "cluster_id: 'a b'", "key 'cluster_id': found \"a b\"" },
    { "data: [x]", "key 'data': found a list, allowed a path" },
    { "data: ''", "key 'data': found \"\", allowed a path" },
    { "data: \"a\\0b\"", "key 'data': found" },
    { "database: mysql://u:secret@h/d", "found \"mysql…\", allowed sqlite, or postgresql://" },
    { "database: postgres//u:secret@h/d", "found \"postgres…\", allowed sqlite, or" },
    { "database: postgresql:/u:secret@h/d", "found \"postgresql…\", allowed sqlite, or" },
    { "database: u:secret@h/d", "found \"u…\", allowed sqlite, or" },
    { "database: host=h password=secret", "found \"host…\", allowed sqlite, or" },
    { "database: postgresql", "found \"postgresql\", allowed sqlite, or postgresql://USER@HOST" },
    { "control: {}", "key 'control': found a section" },
    { "workers: many", "key 'workers': found \"many\", allowed auto, or a number from 1 to 64" },
    { "workers: 0", "key 'workers': found \"0\"" },
    { "workers: 65", "key 'workers': found \"65\"" },
    { "worker_pinning: 1", "key 'worker_pinning': found \"1\", allowed off or on" },
    { "listen: 5222",
      "key 'listen': found \"5222\", allowed a section with the keys c2s, c2s_tls" },
    { "listen: {c2s: x}", "key 'listen.c2s': found \"x\", allowed a list" },
    { "listen: {c2s: [x]}", "key 'listen.c2s': found \"x\", allowed a list" },
    { "listen: {c2s: ['127.0.0.1:65536']}", "found \"127.0.0.1:65536\"" },
    { "listen: {c2s: ['::1:5222']}", "found \"::1:5222\"" },
    { "listen: {c2s: ['host:5222']}", "found \"host:5222\"" },
    { "listen: {c2s: [{proxy: true}]}", "key 'listen.c2s.address': found nothing, allowed \"IP:" },
    { "listen: {c2s: [{address: '0.0.0.0:1', proxy: 2}]}",
      "key 'listen.c2s.proxy': found \"2\", allowed true or false" },
    { "listen: {c2s: [{address: x}]}", "key 'listen.c2s.address': found \"x\", allowed" },
    { "listen: {c2s: [{address: '0.0.0.0:1', port: 2}]}",
      "key 'listen.c2s.port': found an unknown key, allowed address, proxy" },
    { "listen: {c2s_tls: {a: b}}", "key 'listen.c2s_tls': found a section" },
    { "listen: {s2s: 5269}", "key 'listen.s2s': found \"5269\", allowed a list" },
    { "listen: {s2s_tls: [5270]}", "key 'listen.s2s_tls': found \"5270\", allowed a list" },
    { "listen: {component: 5347}", "key 'listen.component': found \"5347\", allowed a list" },
    { "listen: {metrics: 9090}", "key 'listen.metrics': found \"9090\", allowed a list" },
    { "listen: {http_admin: 5281}", "key 'listen.http_admin': found \"5281\", allowed a list" },
    { "listen: {https_admin: 5282}", "key 'listen.https_admin': found \"5282\", allowed a list" },
    { "listen: {proxy65: [7777]}", "key 'listen.proxy65': found \"7777\", allowed a list" },
    { "listen: {http: ['127.0.0.1']}", "key 'listen.http': found \"127.0.0.1\", allowed a list" },
    { "listen: {https: [[a]]}", "key 'listen.https': found a list, allowed a list" },
    { "listen: {bosh: ['[::1]:x']}", "key 'listen.bosh': found \"[::1]:x\", allowed a list" },
    { "database: [a]", "key 'database': found a list, allowed sqlite" },
    { "domain: [b.test]", "did you mean domains?" },
    { "settings: {sm.timeot: 45s}", "did you mean sm.timeout?" },
    { "tls: none", "key 'tls': found \"none\", allowed a section with the keys certificate" },
    { "tls: {certificate: [a]}", "key 'tls.certificate': found a list" },
    { "tls: {certificate: a}", "key 'tls.key': found nothing, allowed both" },
    { "tls: {key: a}", "key 'tls.certificate': found nothing, allowed both" },
    { "tls: {key: {}}", "key 'tls.key': found a section" },
    { "tls: {trust: [a]}", "key 'tls.trust': found a list" },
    { "tls: {domains: [a.test]}", "key 'tls.domains': found a list" },
    { "tls: {domains: {a.test: x}}", "key 'tls.domains.a.test': found \"x\", allowed {certif" },
    { "tls: {domains: {a.test: {key: x}}}", "key 'tls.domains.a.test.certificate': found nothing" },
    { "tls: {domains: {other.test: {key: x, certificate: y}}}",
      "key 'tls.domains': found \"other.test\", allowed names of `domains`" },
    { "log: loud", "key 'log': found \"loud\", allowed a section with the keys level, format" },
    { "log: {level: loud}",
      "key 'log.level': found \"loud\", allowed error, warn, info, debug or" },
    { "log: {format: xml}", "key 'log.format': found \"xml\", allowed logfmt or json" },
    { "settings: []", "key 'settings': found a list" },
    { "settings: {sm.timeout: 10s}",
      "key 'settings.sm.timeout': found \"10s\", allowed 30s to 90s" },
    { "settings: {sm.timeout: 10}",
      "key 'settings.sm.timeout': found \"10\" (seconds), allowed 30s to 90s" },
    { "settings: {sm.timeout: 1 month}", "found \"1 month\" with an unknown unit (there are ms" },
    { "settings: {sm.timeout: }", "key 'settings.sm.timeout': found nothing, allowed 30s to 90s" },
    { "settings: {sm.timeout: [1]}", "key 'settings.sm.timeout': found a list" },
    { "settings: {sm.timeout@example.test: 10s}",
      "key 'settings.sm.timeout@example.test': this setting has one value for all domains" },
    { "settings: {sm.nothing: 1}", "key 'settings.sm.nothing': found an unknown setting" },
    { "settings: {sm.timeout: 30s, sm.timeout: 31s}", "key 'settings.sm.timeout': found twice" },
    { "listen: {sip: []}", "key 'listen.sip': found an unknown key, allowed c2s, c2s_tls" },
    { "colour: red", "key 'colour': found an unknown key, allowed node, node_id, cluster_id" },
    { "domains: [b.test]", "key 'domains': found twice, first in line 1" },
    { "? [a]\n: b", "key 'a list': found as a key" },
    { "node: \"a", "malformed YAML" },
    { "...\n---\nnode: b", "found a second document" },
};

static void every_key_once_wrong(void **state)
{
    (void)state;
    char text[512];
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        snprintf(text, sizeof text, "domains: [a.test]\n%s\n", wrong[i].line);
        expect_error(text, wrong[i].message);
        assert_memory_equal(errors.ptr, "/etc/muster/m.yaml:", 19);
    }
}

/* Whether a case above, or one of domains_are_checked(), is about this key. */
static bool has_wrong_case(slice key)
{
    char named[80];
    snprintf(named, sizeof named, "key '%.*s': found", SLICE_ARG(key));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        if (strstr(wrong[i].message, named) != NULL)
            return true;
    }
    /* These messages begin with what was found. */
    return slice_is(key, "domains");
}

/* A key that is added to the rows needs a case in `wrong`. */
static void every_key_has_a_wrong_case(void **state)
{
    (void)state;
    struct buf docs;
    size_t keys = 0;
    buf_init(&docs, 65536);
    node_keys_docs(&docs);
    slice line, rest = buf_slice(&docs), key, behind;
    while (slice_cut(rest, '\n', &line, &rest)) {
        if (!slice_starts(line, SLICE("| `")))
            continue;
        slice_cut(slice_from(line, 3), '`', &key, &behind);
        keys++;
        if (!has_wrong_case(key))
            fail_msg("no wrong value is tried for %.*s", SLICE_ARG(key));
    }
    assert_true(keys > 20);
    buf_fini(&docs);
}

static void domains_are_checked(void **state)
{
    (void)state;
    expect_error("", "m.yaml:1: key 'domains': found nothing, allowed a list of 1 to 64");
    expect_error("domains: []", "found a list of 0");
    expect_error("domains: a.test", "found \"a.test\", allowed a list");
    expect_error("domains: [a.test, A.test]",
                 "found \"A.test\", allowed a list of 1 to 64 different");
    expect_error("domains: ['a b']", "found \"a b\"");
    expect_error("domains: [[a]]", "found a list");
}

static void all_mistakes_are_told(void **state)
{
    (void)state;
    assert_null(parse("node_id: x\nworkers: y\nlog: {level: z}\n"));
    assert_non_null(strstr(errors.ptr, ":1: key 'node_id'"));
    assert_non_null(strstr(errors.ptr, ":2: key 'workers'"));
    assert_non_null(strstr(errors.ptr, ":3: key 'log.level'"));
    assert_non_null(strstr(errors.ptr, ":1: key 'domains'"));
}

static void mistakes_are_bounded(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, 65536);
    buf_lit(&text, "domains: [a.test]\nsettings:\n");
    for (int i = 0; i < 200; i++)
        buf_printf(&text, "  s%d: 1\n", i);
    buf_append(&text, "", 1);
    assert_null(parse(text.ptr));
    assert_non_null(strstr(errors.ptr, "more mistakes are not shown"));
    assert_null(strstr(errors.ptr, "settings.s60"));
    buf_fini(&text);
}

static void note(const char *key, void *arg) { buf_printf(arg, "%s ", key); }

static void a_reload_names_keys_that_need_a_restart(void **state)
{
    (void)state;
    struct buf found;
    buf_init(&found, 1024);
    struct node_file *was = parse("domains: [a.test]\nworkers: 2\nlog: {level: info}\n");
    struct node_file *now = parse("domains: [a.test, b.test]\nlog: {level: warn}\n"
                                  "listen: {c2s: ['[::]:5222']}\n");
    node_file_restart_keys(was, was, note, &found);
    assert_int_equal(found.len, 0);
    node_file_restart_keys(was, now, note, &found);
    assert_true(slice_is(buf_slice(&found), "domains workers listen.c2s_tls "));
    node_file_free(&was);
    node_file_free(&now);
    buf_fini(&found);
}

static void a_missing_file_is_an_io_error(void **state)
{
    (void)state;
    struct node_file *f;
    buf_clear(&errors);
    assert_int_equal(node_file_load(&f, "/nonexistent/m.yaml", &errors), E_IO);
    buf_append(&errors, "", 1);
    assert_non_null(strstr(errors.ptr, "/nonexistent/m.yaml: cannot be read: No such file"));
}

static int setup(void **state)
{
    (void)state;
    setting_register(&tls_required);
    setting_register(&timeout);
    buf_init(&errors, 65536);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_fini(&errors);
    return 0;
}

/* A key without one of the letters of its last word is recognised, and so is a section. */
static void expect_suggestion(const char *name)
{
    char text[160], meant[96];
    const char *dot = strrchr(name, '.');
    size_t skip = dot != NULL ? (size_t)(dot - name) + 1 : 0;
    for (size_t i = skip; name[i] != '\0'; i++) {
        snprintf(text, sizeof text, "domains: [a.test]\n%.*s%s%.*s%s: []%s\n",
                 (int)(skip > 0 ? skip - 1 : 0), name, skip > 0 ? ": {" : "", (int)(i - skip),
                 name + skip, name + i + 1, skip > 0 ? "}" : "");
        snprintf(meant, sizeof meant, "did you mean %s?", name);
        expect_error(text, meant);
    }
}

static void a_letter_is_missing(void **state)
{
    (void)state;
    struct buf docs;
    buf_init(&docs, 65536);
    node_keys_docs(&docs);
    slice line, rest = buf_slice(&docs), key, behind;
    char name[64], section[64];
    while (slice_cut(rest, '\n', &line, &rest)) {
        if (!slice_starts(line, SLICE("| `")))
            continue;
        slice_cut(slice_from(line, 3), '`', &key, &behind);
        snprintf(name, sizeof name, "%.*s", SLICE_ARG(key));
        /* without a letter, these are listen.http, or like listen.c2s, c2s_tls and http_admin */
        if (strcmp(name, "listen.https") != 0 && strcmp(name, "listen.s2s") != 0 &&
            strcmp(name, "listen.s2s_tls") != 0 && strcmp(name, "listen.https_admin") != 0)
            expect_suggestion(name);
        snprintf(section, sizeof section, "%.*s", (int)strcspn(name, "."), name);
        expect_suggestion(section);
    }
    buf_fini(&docs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_minimal_file_has_defaults),
        cmocka_unit_test(a_listener_for_clients_ends_the_default_of_the_other),
        cmocka_unit_test(no_other_listener_has_a_default),
        cmocka_unit_test(every_key_is_read),
        cmocka_unit_test(every_key_once_wrong),
        cmocka_unit_test(every_key_has_a_wrong_case),
        cmocka_unit_test(a_letter_is_missing),
        cmocka_unit_test(domains_are_checked),
        cmocka_unit_test(all_mistakes_are_told),
        cmocka_unit_test(mistakes_are_bounded),
        cmocka_unit_test(a_reload_names_keys_that_need_a_restart),
        cmocka_unit_test(a_missing_file_is_an_io_error),
    };
    return cmocka_run_group_tests_name("node_file", tests, setup, teardown);
}
