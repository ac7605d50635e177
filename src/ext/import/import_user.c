#include "ext/import/import_user.h"
#include "auth/auth.h"
#include "auth/credentials.h"
#include "auth/hashes.h"
#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/pie.h"
#include "codec/xml_read.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"

/* Keys. */

enum { KEY_BYTES_MAX = 64 + 2, KEY_TEXT_MAX = 128 }; /* base64 is written in threes */

static bool import_bytes(slice text, uint8_t *out, size_t cap, size_t *len)
{
    struct buf b;
    buf_init(&b, KEY_BYTES_MAX);
    bool fine = base64_decode(&b, text) == OK && b.len > 0 && b.len <= cap;
    if (fine)
        memcpy(out, b.ptr, b.len);
    *len = b.len;
    buf_fini(&b);
    return fine;
}

struct import_keys {
    slice salt, count, stored, server; /* base64, but the count */
    slice other_stored, other_server;  /* empty: the password has one form, or it is not known */
};

static bool keys_take(struct import_user *u, enum scram_hash h, const struct import_keys *in)
{
    struct scram_keys *k = &u->keys[h];
    size_t salt, stored, server;
    int64_t count;
    *k = (struct scram_keys){ 0 };
    if (!slice_int(in->count, &count) || count < 1 ||
        count > SCRAM_ITERATIONS_MAX || /* each login with PLAIN would take minutes */

        !import_bytes(in->salt, k->salt, sizeof k->salt, &salt) ||
        !import_bytes(in->stored, k->stored_key, sizeof k->stored_key, &stored) ||
        !import_bytes(in->server, k->server_key, sizeof k->server_key, &server) ||
        stored != scram_hash_len(h) || server != scram_hash_len(h))
        return false;
    k->two_forms =
        import_bytes(in->other_stored, k->other_stored, sizeof k->other_stored, &stored) &&
        import_bytes(in->other_server, k->other_server, sizeof k->other_server, &server) &&
        stored == scram_hash_len(h) && server == scram_hash_len(h);
    k->salt_len = (uint8_t)salt;
    k->iterations = (uint32_t)count;
    u->has |= 1u << h;
    return true;
}

static slice base64_of_base64(slice text, struct arena *tmp)
{
    struct buf b;
    buf_init(&b, KEY_TEXT_MAX);
    slice out = base64_decode(&b, text) == OK ? slice_dup(tmp, buf_fit(&b)) : (slice){ 0 };
    buf_fini(&b);
    return out;
}

/* ejabberd 23 writes keys as base64 of base64. */
static bool keys_take_any(struct import_user *u, enum scram_hash h, const struct import_keys *in,
                          struct arena *tmp)
{
    return keys_take(u, h, in) ||
           keys_take(u, h,
                     &(struct import_keys){ .salt = base64_of_base64(in->salt, tmp),
                                            .count = in->count,
                                            .stored = base64_of_base64(in->stored, tmp),
                                            .server = base64_of_base64(in->server, tmp) });
}

static slice import_text_in(const struct elem *e, const char *name, const char *ns,
                            struct arena *tmp)
{
    struct elem child;
    return elem_child(e, name, ns, &child) ? elem_text(&child, tmp) : (slice){ 0 };
}

static slice text_of(const struct elem *e, const char *name, struct arena *tmp)
{
    return import_text_in(e, name, NS_PIE_SCRAM, tmp);
}

/* false: they are damaged, or of a hash that this server has not. */
static bool keys_element(struct import_user *u, const struct elem *e, struct arena *tmp)
{
    static const enum sasl_mech mechs[SCRAM_HASH_COUNT] = { SASL_SCRAM_SHA_1, SASL_SCRAM_SHA_256,
                                                            SASL_SCRAM_SHA_512 };
    slice mechanism = elem_attr(e, "mechanism", tmp);
    struct import_keys in = { .salt = text_of(e, "salt", tmp),
                              .count = text_of(e, "iter-count", tmp),
                              .stored = text_of(e, "stored-key", tmp),
                              .server = text_of(e, "server-key", tmp) };
    struct elem other;
    if (elem_child(e, "other-form", NS_PIE_MORE, &other)) {
        in.other_stored = import_text_in(&other, "stored-key", NS_PIE_MORE, tmp);
        in.other_server = import_text_in(&other, "server-key", NS_PIE_MORE, tmp);
    }
    for (enum scram_hash h = 0; h < SCRAM_HASH_COUNT; h++)
        if (slice_is(mechanism, sasl_mech_name(mechs[h])))
            return keys_take_any(u, h, &in, tmp);
    return false;
}

/* How older versions of ejabberd write keys of SHA-1: scram:STORED,SERVER,SALT,COUNT. */
static bool keys_old(struct import_user *u, slice password)
{
    struct import_keys in;
    slice rest = slice_from(password, strlen("scram:"));
    if (!slice_starts(password, SLICE("scram:")) || !slice_cut(rest, ',', &in.stored, &rest) ||
        !slice_cut(rest, ',', &in.server, &rest) || !slice_cut(rest, ',', &in.salt, &in.count))
        return false;
    return keys_take(u, SCRAM_SHA_1, &in);
}

/* A password is worth more than keys: clients of all hashes can use it. */
static void import_keys_of(struct import_user *u, struct arena *tmp)
{
    struct elem e;
    slice prepared, password = elem_attr(&u->user, "password", tmp);
    for (bool more = elem_first(&u->user, &e); more; more = elem_next(&e, &e))
        if (elem_is(&e, "scram-credentials", NS_PIE_SCRAM) && !keys_element(u, &e, tmp))
            u->note = "keys that are damaged, or of a mechanism that this server has not";
    if (password.len == 0 || keys_old(u, password))
        return;
    if (jid_prep_password_given(password, tmp, &prepared) != OK) {
        u->note = arena_printf(tmp, "a password that %s", jid_password_problem(password, tmp));
        return;
    }
    u->password = prepared;
    u->has = (1u << SCRAM_HASH_COUNT) - 1;
}

void import_user_derive(struct import_user *u)
{
    ensure(u->password.len > 0);
    credentials_derive(u->keys, u->password);
}

unsigned import_user_lacks(const struct import_user *u)
{
    return u->has == 0 || u->disabled ? 0 : HASHES_ALL & ~u->has;
}

/* XML and address. */

static const char *import_parse(struct import_user *u, const struct source_found *found,
                                struct xml_work *xml)
{
    static const struct xml_limits limits = { .unit_bytes = PIE_ELEMENT_MAX,
                                              .depth = PIE_DEPTH_MAX,
                                              .attrs = 64,
                                              .name_bytes = 1024,
                                              .many_children = true };
    enum err e = xml_read_element(xml, found->xml, found->ns, &limits);
    if (e == E_LIMIT)
        return "it has elements inside each other, attributes or names beyond all limits";
    if (e != OK || !elem_parse(&u->user, found->xml, found->ns))
        return "it is no well-formed XML as XMPP has it (RFC 6120 §11)";
    return NULL;
}

/* The program that has converted it says so. */
static const char *import_refused(const struct import_user *u, struct arena *tmp)
{
    struct elem e;
    return elem_child(&u->user, "refused", NS_PIE_MORE, &e) ? slice_cstr(tmp, elem_text(&e, tmp))
                                                            : NULL;
}

static const char *import_address(struct import_user *u, const struct source_found *found,
                                  struct arena *tmp)
{
    struct jid jid;
    slice local, domain, name = elem_attr(&u->user, "name", tmp);
    slice host = xml_unescape_attr(found->host, tmp);
    u->label = slice_of(arena_printf(tmp, "%.*s@%.*s", SLICE_ARG(name), SLICE_ARG(host)));
    if (name.len == 0)
        return "it has no name";
    if (jid_prep_local(name, tmp, &local) != OK || jid_prep_domain(host, tmp, &domain) != OK ||
        jid_parse(&jid,
                  slice_of(arena_printf(tmp, "%.*s@%.*s", SLICE_ARG(local), SLICE_ARG(domain))),
                  tmp) != OK ||
        !jid_is_bare(&jid))
        return "its name is none that an account can have (RFC 7622)";
    u->jid = jid.full;
    return NULL;
}

enum err import_user_domain(struct source_found *found, slice domain, const char *path,
                            struct why *why)
{
    if (found->host.len == 0)
        found->host = domain;
    if (found->host.len > 0)
        return OK;
    why_set(why,
            "%s: found users without a domain; `import openfire` takes it from --domain if this "
            "server has several, a file of XEP-0227 has it in <host jid='DOMAIN'/>",
            path);
    return E_SYNTAX;
}

/* XEP-0227 has no element for it. ejabberd keeps a ban in the private data of the account, since
 * version 24.06, and leaves the password. */
static bool import_is_disabled(const struct elem *user)
{
    struct elem e, child;
    for (bool more = elem_first(user, &e); more; more = elem_next(&e, &e))
        if (elem_is(&e, "disabled", NS_PIE_MORE) ||
            (elem_is(&e, "query", NS_PRIVATE) &&
             elem_child(&e, "banned", NS_EJABBERD_BANNED, &child)))
            return true;
    return false;
}

struct import_user *import_user_read(const struct source_found *found, struct xml_work *xml,
                                     struct arena *tmp)
{
    struct import_user *u = arena_new(tmp, struct import_user, 1);
    u->label =
        slice_of(arena_printf(tmp, "%.*s@%.*s", SLICE_ARG(found->name), SLICE_ARG(found->host)));
    u->problem = import_parse(u, found, xml);
    if (u->problem == NULL)
        u->problem = import_refused(u, tmp);
    if (u->problem == NULL)
        u->problem = import_address(u, found, tmp);
    if (u->problem != NULL)
        return u;
    struct elem e;
    u->disabled_there = import_is_disabled(&u->user);
    u->disabled = u->disabled_there;
    u->piece = elem_child(&u->user, "continues", NS_PIE_MORE, &e);
    if (!u->piece)
        import_keys_of(u, tmp);
    return u;
}
