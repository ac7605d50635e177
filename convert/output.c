#include "convert/output.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "codec/json_text.h"
#include "codec/pie.h"
#include "codec/xml_write.h"
#include "xmpp/ns.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { NAME_BYTES_MAX = 200, TEXT_BYTES_MAX = 256 << 20, TELL_US = 200000 };

struct lost {
    slice what; /* first */
    slice first;
    uint64_t count;
};

static FILE *output_file(struct output *o, const char *name, struct why *why)
{
    const char *path = arena_printf(o->arena, "%s/%s", o->folder, name);
    FILE *file = fopen(path, "wxe");
    if (file == NULL)
        why_set(why, "%s: %s", path, strerror(errno));
    return file;
}

enum err output_open(struct output *o, const char *folder, struct why *why)
{
    *o = (struct output){ .folder = folder, .arena = arena_create(0) };
    map_init(&o->lost, map_key_slice);
    const char *rooms = arena_printf(o->arena, "%s/rooms", folder);
    if ((mkdir(folder, 0700) != 0 && errno != EEXIST) || mkdir(rooms, 0700) != 0) {
        why_set(why, "%s: %s", folder, strerror(errno));
        return E_IO;
    }
    o->accounts = output_file(o, "accounts.xml", why);
    o->more = o->accounts == NULL ? NULL : output_file(o, "more.jsonl", why);
    if (o->more == NULL)
        return E_IO;
    fputs("<?xml version='1.0' encoding='UTF-8'?>\n<server-data xmlns='" NS_PIE "'>\n",
          o->accounts);
    return OK;
}

static void output_tell_lost(struct output *o)
{
    const struct lost *l;
    for (uint32_t i = 0; (l = map_next(&o->lost, &i)) != NULL;) {
        output_line(o, "lost");
        output_put(o, "what", l->what);
        output_put(o, "first", l->first);
        fprintf(o->more, ",\"count\":%llu", (unsigned long long)l->count);
        output_end(o);
        if (!o->progress)
            printf("not converted: %.*s: %llu%s%.*s\n", SLICE_ARG(l->what),
                   (unsigned long long)l->count, l->first.len > 0 ? ", first of " : "",
                   SLICE_ARG(l->first));
    }
}

static void output_close_file(struct output *o, FILE *file)
{
    if (file != NULL && (ferror(file) != 0 || fclose(file) != 0) && o->error == 0)
        o->error = errno;
}

enum err output_close(struct output *o, struct why *why)
{
    if (o->more != NULL) {
        output_tell_lost(o);
        fputs(o->host != NULL ? "</host>\n</server-data>\n" : "</server-data>\n", o->accounts);
    }
    output_close_file(o, o->accounts);
    output_close_file(o, o->more);
    mem_free(&o->host);
    map_fini(&o->lost);
    if (o->error != 0)
        why_set(why, "%s: it cannot be written: %s", o->folder, strerror(o->error));
    arena_destroy(&o->arena);
    return o->error == 0 ? OK : E_IO;
}

void output_progress(struct output *o, uint64_t done, uint64_t all)
{
    uint64_t now_us = clock_mono_us();
    if (!o->progress || all == 0 || now_us - o->told_us < TELL_US)
        return;
    o->told_us = now_us;
    printf("%d\n", (int)(100 * done / all));
    fflush(stdout);
}

/* Accounts. */

static void output_text(FILE *file, slice text)
{
    if (text.len > 0)
        (void)fwrite(text.ptr, 1, text.len, file); /* ferror() at the end */
}

static void output_host(struct output *o, slice host)
{
    struct buf tag;
    struct xml_write x;
    if (o->host != NULL && slice_is(host, o->host))
        return;
    if (o->host != NULL)
        fputs("</host>\n", o->accounts);
    mem_free(&o->host);
    o->host = mem_zalloc(host.len + 1);
    memcpy(o->host, host.len > 0 ? host.ptr : "", host.len);
    xml_begin(&x, &tag, XML_PART_MAX);
    xml_open(&x, "host", NULL);
    xml_attr_some(&x, "jid", host);
    (void)xml_content(&x);
    output_text(o->accounts, buf_fit(&tag));
    fputs("\n", o->accounts);
    buf_fini(&tag);
}

void output_user(struct output *o, slice host, slice xml)
{
    output_host(o, host);
    output_text(o->accounts, xml);
    fputs("\n", o->accounts);
    o->users++;
}

void output_refused(struct output *o, slice host, slice name, const char *why)
{
    struct buf xml;
    struct xml_write x;
    ensure(why[0] != '\0');
    xml_begin(&x, &xml, XML_PART_MAX);
    xml_open_with(&x, "user", NULL, "name", name);
    xml_open(&x, "refused", NS_PIE_MORE);
    xml_text_clean(&x, slice_of(why));
    xml_close_all(&x);
    output_user(o, host, buf_fit(&xml));
    o->refused++;
    buf_fini(&xml);
}

/* Lines. */

static void output_put_text(struct output *o, slice text)
{
    struct buf b;
    text.len = utf8_valid_len(text);
    buf_init(&b, TEXT_BYTES_MAX);
    json_text(&b, text);
    output_text(o->more, buf_fit(&b));
    buf_fini(&b);
}

void output_line(struct output *o, const char *type) { fprintf(o->more, "{\"type\":\"%s\"", type); }

void output_put(struct output *o, const char *key, slice text)
{
    fprintf(o->more, ",\"%s\":", key);
    output_put_text(o, text);
}

void output_flag(struct output *o, const char *key, bool truth)
{
    fprintf(o->more, ",\"%s\":%s", key, truth ? "true" : "false");
}

void output_list(struct output *o, const char *key, const struct text_list *list)
{
    fprintf(o->more, ",\"%s\":[", key);
    for (const struct text_list *l = list; l != NULL; l = l->next) {
        output_put_text(o, l->text);
        fputs(l->next != NULL ? "," : "", o->more);
    }
    fputs("]", o->more);
}

void output_end(struct output *o) { fputs("}\n", o->more); }

/* Losses. */

void output_lost(struct output *o, slice first, uint64_t count, const char *what, ...)
{
    struct buf text;
    va_list ap;
    if (count == 0)
        return;
    buf_init(&text, TEXT_BYTES_MAX);
    va_start(ap, what);
    buf_vprintf(&text, what, ap);
    va_end(ap);
    slice name = utf8_head(buf_fit(&text), NAME_BYTES_MAX);
    name.len = utf8_valid_len(name);
    struct lost *l = map_get(&o->lost, name);
    if (l == NULL && o->lost.count >= LOST_NAMES_MAX) {
        name = SLICE("things of other names");
        l = map_get(&o->lost, name);
    }
    if (l == NULL) {
        l = arena_new(o->arena, struct lost, 1);
        *l = (struct lost){ slice_dup(o->arena, name), slice_dup(o->arena, first), 0 };
        map_put(&o->lost, l);
    }
    l->count += count;
    buf_fini(&text);
}

/* Parts of stanzas. */

bool is_xml_name(slice name)
{
    static const char not_in_names[] = " \t\r\n<>&'\"/=\x01";
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] == '\0' || strchr(not_in_names, name.ptr[i]) != NULL)
            return false;
    return name.len > 0;
}

bool is_added(slice name, slice ns)
{
    return (slice_is(name, "stanza-id") && slice_is(ns, NS_SID)) ||
           (slice_is(name, "occupant-id") && slice_is(ns, "urn:xmpp:occupant-id:0")) ||
           (slice_is(name, "archived") && slice_is(ns, "urn:xmpp:mam:tmp"));
}

void write_delay(struct xml_write *x, uint64_t at_us, slice from)
{
    char stamp[CLOCK_STAMP_LEN];
    if (at_us == 0)
        return;
    clock_stamp(stamp, at_us);
    xml_open(x, "delay", NS_DELAY);
    xml_attr_some(x, "from", from);
    xml_attr(x, "stamp", slice_of(stamp));
    xml_close(x);
}
