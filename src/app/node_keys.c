#include "app/node_keys.h"
#include "app/node_file.h"
#include "base/arena.h"
#include "base/buf.h"
#include "home/node.h"
#include "operate/docs.h"
#include <inttypes.h>
#include <string.h>

enum { LIST_MAX = 32, SETTINGS_MAX = 512 };

static const char *const off_on[] = { "off", "on", NULL };
static const char *const levels[] = { "error", "warn", "info", "debug", "trace", NULL };
static const char *const formats[] = { "logfmt", "json", NULL };

#define AT(member) offsetof(struct node_file, member)
const struct node_key node_keys[] = {
    { "node", KEY_NAME, KEY_RESTART, AT(node), 1, 63, NULL, "muster",
      "Name of this node, for logs and displays." },
    { "node_id", KEY_INT, KEY_RESTART, AT(node_id), 1, 65535, NULL, "1",
      "Number of this node, unique in the cluster." },
    { "cluster_id", KEY_NAME, KEY_RESTART, AT(cluster_id), 1, 63, NULL, "standalone",
      "Name of the cluster; the same on all its nodes." },
    { "domains", KEY_DOMAINS, KEY_RESTART, AT(domains), 1, NODE_DOMAINS_MAX, NULL, NULL,
      "The XMPP domains served here." },
    { "data", KEY_PATH, KEY_RESTART, AT(data), 0, 0, NULL, "/var/lib/muster",
      "Folder of the database and of keys. It is made if the folder above exists." },
    { "database", KEY_DATABASE, KEY_RESTART, AT(database), 0, 0, NULL, "sqlite",
      "Where everything is stored: `sqlite` is the file `muster.db` in the data folder, "
      "`postgresql://USER@HOST1,HOST2:PORT/NAME` a database of PostgreSQL "
      "([postgresql.md](postgresql.md)). A password may be in the URL, or better in `~/.pgpass`." },
    { "control", KEY_PATH, KEY_RESTART, AT(control), 0, 0, NULL, "/run/muster/control.sock",
      "Unix socket for `musterctl`. Users who can write to it can administer the server." },
    { "workers", KEY_WORKERS, KEY_RESTART, AT(workers), 1, NODE_WORKERS_MAX, NULL, "auto",
      "Worker threads; `auto` is one for each processor core." },
    { "worker_pinning", KEY_CHOICE, KEY_RESTART, AT(worker_pinning), 0, 0, off_on, "off",
      "Ties each worker to one processor core." },
    { "listen.c2s", KEY_LISTEN, KEY_RESTART, AT(c2s), 0, LIST_MAX, NULL, "[::]:5222",
      "Addresses for clients, with STARTTLS (RFC 6120). No default if `listen.c2s_tls` has "
      "addresses in the file." },
    { "listen.c2s_tls", KEY_LISTEN, KEY_RESTART, AT(c2s_tls), 0, LIST_MAX, NULL, "[::]:5223",
      "Addresses for clients, with TLS from the first byte (XEP-0368). No default if `listen.c2s` "
      "has addresses in the file." },
    { "listen.s2s", KEY_LISTEN, KEY_RESTART, AT(s2s), 0, LIST_MAX, NULL, "",
      "Addresses for other servers, with STARTTLS (RFC 6120); 5269 is the usual port. s2s.policy "
      "says who may connect." },
    { "listen.s2s_tls", KEY_LISTEN, KEY_RESTART, AT(s2s_tls), 0, LIST_MAX, NULL, "",
      "Addresses for other servers, with TLS from the first byte (XEP-0368); 5270 is the usual "
      "port." },
    { "listen.component", KEY_LISTEN, KEY_RESTART, AT(component), 0, LIST_MAX, NULL, "",
      "Addresses for external components (XEP-0114), in the clear: loopback or a private network. "
      "`musterctl component add` names who may connect." },
    { "listen.proxy65", KEY_LISTEN, KEY_RESTART, AT(proxy65), 0, LIST_MAX, NULL, "",
      "Addresses of the proxy for file transfers between clients (XEP-0065), in the clear; 7777 is "
      "the usual port." },
    { "listen.http", KEY_LISTEN, KEY_RESTART, AT(http), 0, LIST_MAX, NULL, "",
      "Addresses for HTTP without TLS: for reverse proxies, or on loopback." },
    { "listen.https", KEY_LISTEN, KEY_RESTART, AT(https), 0, LIST_MAX, NULL, "",
      "Addresses for HTTP with TLS." },
    { "listen.bosh", KEY_LISTEN, KEY_RESTART, AT(bosh), 0, LIST_MAX, NULL, "",
      "Addresses for BOSH only, without TLS; the usual port is 7335." },
    { "listen.metrics", KEY_LISTEN, KEY_RESTART, AT(metrics), 0, LIST_MAX, NULL, "",
      "Addresses where Prometheus reads `/metrics`, in the clear and without a login: loopback or "
      "a "
      "private network. Nothing else is served there." },
    { "listen.http_admin", KEY_LISTEN, KEY_RESTART, AT(http_admin), 0, LIST_MAX, NULL, "",
      "Addresses for operators, without TLS: the API, `/healthz`, `/readyz` and `/metrics`. For "
      "loopback, or for a reverse proxy: api.tls-required. Nothing else is served there, and these "
      "nowhere else." },
    { "listen.https_admin", KEY_LISTEN, KEY_RESTART, AT(https_admin), 0, LIST_MAX, NULL, "",
      "The same with TLS." },
    { "tls.certificate", KEY_PATH, KEY_RELOAD, AT(certificate), 0, 0, NULL, "",
      "Certificate with its chain, PEM. Without one a self-signed pair is made in the data "
      "folder." },
    { "tls.key", KEY_PATH, KEY_RELOAD, AT(key), 0, 0, NULL, "",
      "Private key of the certificate, PEM." },
    { "tls.domains", KEY_CERTS, KEY_RELOAD, AT(certs), 0, NODE_DOMAINS_MAX, NULL, "",
      "Certificates of single domains, chosen by the name the client asks for (SNI)." },
    { "tls.trust", KEY_PATH, KEY_RESTART, AT(trust), 0, 0, NULL, "",
      "Certificates of authorities, PEM, that are trusted to vouch for other servers, beside those "
      "of `cert-trust add`. Without it: those that the system trusts." },
    { "log.level", KEY_CHOICE, KEY_RELOAD, AT(log_level), 0, 0, levels, "info",
      "The least important lines that are written to standard error." },
    { "log.format", KEY_CHOICE, KEY_RELOAD, AT(log_format), 0, 0, formats, "logfmt",
      "Format of a line: logfmt, or one JSON object." },
    { "settings", KEY_SETTINGS, KEY_RELOAD, AT(settings), 0, SETTINGS_MAX, NULL, "",
      "Settings by their full names. `musterctl set` cannot change settings that are set here." },
    { 0 },
};
_Static_assert(sizeof node_keys / sizeof node_keys[0] - 1 <= (size_t)NODE_FILE_KEYS_MAX,
               "room for `shown`");

static const char *choices_text(struct arena *arena, const char *const *choices)
{
    const char *text = choices[0];
    for (size_t i = 1; choices[i] != NULL; i++)
        text =
            arena_printf(arena, "%s%s%s", text, choices[i + 1] == NULL ? " or " : ", ", choices[i]);
    return text;
}

const char *node_key_allowed(struct arena *arena, const struct node_key *k)
{
    switch (k->type) {
    case KEY_NAME:
        return arena_printf(arena, "%" PRId64 " to %" PRId64 " letters, digits and hyphens", k->min,
                            k->max);
    case KEY_INT:
        return arena_printf(arena, "a number from %" PRId64 " to %" PRId64, k->min, k->max);
    case KEY_WORKERS:
        return arena_printf(arena, "auto, or a number from %" PRId64 " to %" PRId64, k->min,
                            k->max);
    case KEY_CHOICE:
        return choices_text(arena, k->choices);
    case KEY_PATH:
        return "a path; a relative one counts from the folder of this file";
    case KEY_DATABASE:
        return "sqlite, or postgresql://USER@HOST/NAME";
    case KEY_DOMAINS:
        return arena_printf(arena,
                            "a list of %" PRId64 " to %" PRId64
                            " different domain names, such as [example.org]",
                            k->min, k->max);
    case KEY_LISTEN:
        return arena_printf(arena,
                            "a list of at most %" PRId64
                            " items, such as [\"[::]:5222\"]: \"IP:PORT\" "
                            "(an IPv6 address in []), or {address: \"IP:PORT\", proxy: true or "
                            "false}",
                            k->max);
    case KEY_CERTS:
        return "a section DOMAIN: {certificate: PATH, key: PATH} with names of `domains`";
    case KEY_SETTINGS:
        return "a section NAME: VALUE with names of settings";
    }
    return "";
}

const struct node_key *node_key_find(slice name)
{
    for (size_t i = 0; node_keys[i].name != NULL; i++) {
        if (slice_is(name, node_keys[i].name))
            return &node_keys[i];
    }
    return NULL;
}

const char *node_keys_below(struct arena *arena, const char *section)
{
    const char *text = NULL;
    slice last = { 0 };
    size_t skip = *section == '\0' ? 0 : strlen(section) + 1;
    for (size_t i = 0; node_keys[i].name != NULL; i++) {
        slice name = slice_of(node_keys[i].name), rest;
        if (skip > 0 && (name.len <= skip || name.ptr[skip - 1] != '.' ||
                         memcmp(name.ptr, section, skip - 1) != 0))
            continue;
        slice_cut(slice_from(name, skip), '.', &name, &rest);
        if (slice_eq(name, last))
            continue;
        last = name;
        text = text == NULL ? slice_cstr(arena, name)
                            : arena_printf(arena, "%s, %.*s", text, SLICE_ARG(name));
    }
    return text;
}

void node_keys_docs(struct buf *out)
{
    struct arena *arena = arena_create(0);
    buf_lit(out, "| key | allowed | default | reload | meaning |\n|---|---|---|---|---|\n");
    for (size_t i = 0; node_keys[i].name != NULL; i++) {
        const struct node_key *k = &node_keys[i];
        const char *def = k->def == NULL    ? "required"
                          : *k->def == '\0' ? ""
                                            : arena_printf(arena, "`%s`", k->def);
        buf_printf(out, "| `%s` | %s | %s | %s | %s |\n", k->name, node_key_allowed(arena, k), def,
                   k->reload == KEY_RELOAD ? "yes" : "restart", k->doc);
    }
    arena_destroy(&arena);
}

void node_keys_man(struct buf *out)
{
    struct arena *arena = arena_create(0);
    for (size_t i = 0; node_keys[i].name != NULL; i++) {
        const struct node_key *k = &node_keys[i];
        const char *def = k->def == NULL ? "required" : *k->def == '\0' ? "none" : k->def;
        buf_printf(out, ".TP\n.B %s\n", k->name);
        docs_man_text(out,
                      slice_of(arena_printf(arena, "%s Allowed: %s. Default: %s.%s", k->doc,
                                            node_key_allowed(arena, k), def,
                                            k->reload == KEY_RELOAD ? "" : " Needs a restart.")));
    }
    arena_destroy(&arena);
}
