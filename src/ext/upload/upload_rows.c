#include "ext/upload/upload_rows.h"
#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hex.h"
#include "base/secret_file.h"
#include "base/setting.h"
#include "base/utf8.h"
#include "ext/upload/upload.h"
#include "http/parse.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

enum { KEY_BYTES = 32, MAC_BYTES = 20, MAC_TEXT_MAX = 8192 };

#define ALSO_BY_SIZE                                                                               \
    "DROP INDEX upload_by_owner; CREATE INDEX upload_by_owner ON upload(owner, at_us, size)"

static const struct store_migration migrations[] = {
    { 1,
      "CREATE TABLE upload(id TEXT PRIMARY KEY, owner INTEGER NOT NULL, name TEXT NOT NULL, "
      "type TEXT NOT NULL, size INTEGER NOT NULL, hash TEXT NOT NULL, at_us INTEGER NOT NULL, "
      "until_us INTEGER NOT NULL) WITHOUT ROWID;"
      "CREATE INDEX upload_by_owner ON upload(owner, at_us);"
      "CREATE INDEX upload_by_time ON upload(until_us);"
      "CREATE TABLE blob(hash TEXT PRIMARY KEY, size INTEGER NOT NULL, refs INTEGER NOT NULL) "
      "WITHOUT ROWID;"
      "CREATE INDEX blob_orphans ON blob(hash) WHERE refs <= 0",
      "CREATE TABLE upload(id TEXT PRIMARY KEY, owner BIGINT NOT NULL, name TEXT NOT NULL, "
      "type TEXT NOT NULL, size BIGINT NOT NULL, hash TEXT NOT NULL, at_us BIGINT NOT NULL, "
      "until_us BIGINT NOT NULL);"
      "CREATE INDEX upload_by_owner ON upload(owner, at_us);"
      "CREATE INDEX upload_by_time ON upload(until_us);"
      "CREATE TABLE blob(hash TEXT PRIMARY KEY, size BIGINT NOT NULL, refs BIGINT NOT NULL);"
      "CREATE INDEX blob_orphans ON blob(hash) WHERE refs <= 0" },
    { 2, ALSO_BY_SIZE, ALSO_BY_SIZE },
    { 0 },
};
struct store_stmt upload_owner = {
    .name = "upload.owner",
    .sql = "SELECT a.id, "
           "(SELECT CAST(coalesce(sum(size), 0) AS BIGINT) FROM upload WHERE owner = a.id), "
           "(SELECT CAST(coalesce(sum(size), 0) AS BIGINT) FROM upload WHERE owner = a.id "
           "AND at_us > $2), "
           "(SELECT coalesce(min(at_us), 0) FROM upload WHERE owner = a.id AND at_us > $2), "
           "(SELECT count(*) FROM upload WHERE owner = a.id) "
           "FROM account a WHERE a.jid = $1 AND a.disabled = 0",
    .params = "ti",
    .cols = "iiiii",
};
struct store_stmt upload_above = {
    .name = "upload.above",
    .sql = "SELECT count(*) FROM (SELECT owner FROM upload GROUP BY owner HAVING count(*) > $1) v",
    .params = "i",
    .cols = "i",
};
struct store_stmt upload_larger = {
    .name = "upload.larger",
    .sql = "SELECT count(*) FROM (SELECT owner FROM upload GROUP BY owner HAVING sum(size) > $1) v",
    .params = "i",
    .cols = "i",
};
struct store_stmt upload_put = {
    .name = "upload.put",
    .sql = "INSERT INTO upload(id, owner, name, type, size, hash, at_us, until_us) "
           "VALUES($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT(id) DO NOTHING",
    .params = "tittitii",
    .cols = "",
};
struct store_stmt upload_ref = {
    .name = "upload.ref",
    .sql = "INSERT INTO blob(hash, size, refs) VALUES($1, $2, 1) "
           "ON CONFLICT(hash) DO UPDATE SET refs = blob.refs + 1",
    .params = "ti",
    .cols = "",
};
/* Changes nothing but must meet the row just put: it does so only within the limits and while the
 * account is there, else the whole batch is undone. */
struct store_stmt upload_within = {
    .name = "upload.within",
    .sql = "UPDATE upload SET size = size WHERE id = $1 "
           "AND EXISTS (SELECT 1 FROM account WHERE account.id = $2 AND disabled = 0) "
           "AND (SELECT sum(size) FROM upload WHERE owner = $2) <= $3 "
           "AND (SELECT sum(size) FROM upload WHERE owner = $2 AND at_us > $4) <= $5 "
           "AND (SELECT count(*) FROM upload WHERE owner = $2) <= $6",
    .params = "tiiiii",
    .cols = "",
};
struct store_stmt upload_count = {
    .name = "upload.count",
    .sql = "SELECT count(DISTINCT a.id), count(u.id), CAST(coalesce(sum(u.size), 0) AS BIGINT)"
           " FROM account a LEFT JOIN upload u ON u.owner = a.id WHERE a.jid = $1",
    .params = "t",
    .cols = "iii",
};
struct store_stmt upload_active = {
    .name = "upload.active",
    .sql = "SELECT 1 FROM account WHERE id = $1 AND disabled = 0",
    .params = "i",
    .cols = "i",
};
struct store_stmt upload_find = {
    .name = "upload.find",
    .sql = "SELECT name, type, size, hash, at_us, until_us FROM upload WHERE id = $1",
    .params = "t",
    .cols = "ttitii",
};
struct store_stmt upload_list = {
    .name = "upload.list",
    /* No row: no account. A row without an id: it has no files. */
    .sql = "SELECT COALESCE(u.id, ''), COALESCE(u.name, ''), COALESCE(u.type, ''), "
           "COALESCE(u.size, 0), COALESCE(u.at_us, 0), COALESCE(u.until_us, 0) FROM account a "
           "LEFT JOIN upload u ON u.owner = a.id AND u.at_us >= $2 AND (u.at_us > $2 OR u.id > $3) "
           "WHERE a.jid = $1 ORDER BY u.at_us, u.id LIMIT $4",
    .params = "titi",
    .cols = "tttiii",
};
struct store_stmt upload_was = {
    .name = "upload.was",
    .sql = "SELECT COALESCE((SELECT jid FROM account a WHERE a.id = u.owner), ''), u.name, u.type, "
           "u.size, u.at_us FROM upload u WHERE u.id = $1",
    .params = "t",
    .cols = "tttii",
};
struct store_stmt upload_unref = {
    .name = "upload.unref",
    .sql = "UPDATE blob SET refs = refs - 1 "
           "WHERE hash = (SELECT hash FROM upload WHERE id = $1)",
    .params = "t",
    .cols = "",
};
struct store_stmt upload_delete = {
    .name = "upload.delete",
    .sql = "DELETE FROM upload WHERE id = $1",
    .params = "t",
    .cols = "",
};
struct store_stmt upload_expired = {
    .name = "upload.expired",
    .sql = "SELECT id FROM upload WHERE until_us <= $1 ORDER BY until_us LIMIT 100",
    .params = "i",
    .cols = "t",
};
struct store_stmt upload_orphans = {
    .name = "upload.orphans",
    .sql = "SELECT hash FROM blob WHERE refs <= 0 LIMIT 100",
    .params = "",
    .cols = "t",
};
struct store_stmt upload_orphan = {
    .name = "upload.orphan",
    .sql = "SELECT refs FROM blob WHERE hash = $1 AND refs <= 0",
    .params = "t",
    .cols = "i",
};
struct store_stmt upload_forget = {
    .name = "upload.forget",
    .sql = "DELETE FROM blob WHERE hash = $1 AND refs <= 0",
    .params = "t",
    .cols = "",
};
struct store_stmt upload_unref_all = {
    .name = "upload.unref-all",
    .sql = "UPDATE blob SET refs = refs - "
           "(SELECT count(*) FROM upload WHERE owner = $1 AND upload.hash = blob.hash) "
           "WHERE hash IN (SELECT hash FROM upload WHERE owner = $1)",
    .params = "i",
    .cols = "",
};
struct store_stmt upload_delete_all = {
    .name = "upload.delete-all",
    .sql = "DELETE FROM upload WHERE owner = $1",
    .params = "i",
    .cols = "",
};
const struct store_schema upload_schema = {
    .feature = "upload",
    .migrations = migrations,
    .stmts =
        (struct store_stmt *const[]){
            &upload_owner,      &upload_put,     &upload_ref,    &upload_count,  &upload_within,
            &upload_active,     &upload_find,    &upload_list,   &upload_unref,  &upload_delete,
            &upload_expired,    &upload_orphans, &upload_orphan, &upload_forget, &upload_unref_all,
            &upload_delete_all, &upload_was,     &upload_above,  &upload_larger, NULL },
};

/* Signatures. */

/* A file, so that slots outlive a restart. */
static char key[KEY_BYTES];
static bool has_key;

bool upload_has_key(void) { return has_key; }

enum err upload_key_load(const char *path, struct why *why)
{
    enum err e = secret_file_obtain(path, key, sizeof key, why);
    has_key = e == OK;
    return e;
}

static void mac_of(char out[2 * MAC_BYTES + 1], const struct upload_slot *s)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    struct buf text;
    buf_init(&text, MAC_TEXT_MAX);
    buf_printf(&text, "%s\n%lld\n%lld\n%llu\n%.*s\n%.*s", s->id, (long long)s->owner,
               (long long)s->size, (unsigned long long)s->until_us, SLICE_ARG(s->type),
               SLICE_ARG(s->name));
    ensure(!text.overflow); /* names and types are short: UPLOAD_NAME_MAX */
    HMAC(EVP_sha256(), key, KEY_BYTES, (const unsigned char *)text.ptr, text.len, mac, &len);
    hex_encode(out, (slice){ (const char *)mac, MAC_BYTES });
    buf_fini(&text);
}

static void add_encoded(struct buf *out, slice text)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (c != '\0' && strchr("-._~", c) != NULL);
        if (plain)
            buf_append(out, &c, 1);
        else
            buf_printf(out, "%%%c%c", digits[c >> 4], digits[c & 15]);
    }
}

void upload_sign(struct buf *out, const struct upload_slot *s)
{
    char mac[2 * MAC_BYTES + 1];
    ensure(has_key);
    mac_of(mac, s);
    buf_printf(out, "o=%lld&s=%lld&u=%llu&t=", (long long)s->owner, (long long)s->size,
               (unsigned long long)s->until_us);
    add_encoded(out, s->type);
    buf_printf(out, "&m=%s", mac);
}

static bool query_int(slice query, const char *name, struct arena *tmp, int64_t *out)
{
    slice text;
    return http_query_get(query, name, tmp, &text) && slice_int(text, out);
}

bool upload_verify(struct upload_slot *s, slice query, struct arena *tmp)
{
    char mac[2 * MAC_BYTES + 1];
    slice given;
    int64_t until;
    if (!has_key || !query_int(query, "o", tmp, &s->owner) ||
        !query_int(query, "s", tmp, &s->size) || !query_int(query, "u", tmp, &until) ||
        !http_query_get(query, "t", tmp, &s->type) || !http_query_get(query, "m", tmp, &given) ||
        given.len != sizeof mac - 1)
        return false;
    s->until_us = (uint64_t)until;
    mac_of(mac, s);
    return CRYPTO_memcmp(mac, given.ptr, given.len) == 0;
}

/* Names. */

bool upload_name_ok(slice name)
{
    if (name.len == 0 || name.len > UPLOAD_NAME_MAX || !utf8_valid(name) || slice_is(name, ".") ||
        slice_is(name, ".."))
        return false;
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        if (c < 0x20 || c == 0x7f || c == '/' || c == '\\')
            return false;
    }
    return true;
}

void upload_url_path(struct buf *out, slice id, slice name)
{
    buf_lit(out, "/upload/");
    buf_add(out, id);
    buf_lit(out, "/");
    add_encoded(out, name);
}
