#include "ext/upload/upload.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/hex.h"
#include "base/rand.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "ext/upload/upload_http.h"
#include "ext/upload/upload_private.h"
#include "ext/upload/upload_rows.h"
#include "ext/upload/upload_sweep.h"
#include "ext/upload/upload_type.h"
#include "home/here.h"
#include "home/host.h"
#include "home/node.h"
#include "http/forms.h"
#include "http/server.h"
#include "store/store.h"
#include "talk/iq.h"
#include "xmpp/form.h"
#include "xmpp/ns.h"

#define NS_UPLOAD "urn:xmpp:http:upload:0"

static const uint64_t day_us = 86400ull * 1000000;

static struct setting upload_enabled = {
    .name = "upload.enabled",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Users may upload files for others (XEP-0363). Needs the listener listen.https.",
};
static struct setting upload_bytes_max = {
    .name = "upload.file-bytes",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 100 << 20,
    .min = 1024,
    .max = 4ll << 30,
    .doc = "The largest file.",
};
static const struct setting_impact upload_larger_impact = { .stmt = &upload_larger,
                                                            .what =
                                                                "users whose files are larger" };
struct setting upload_quota = {
    .name = "upload.quota",
    .impact = &upload_larger_impact,
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 2ll << 30,
    .min = 1024,
    .max = 1ll << 50,
    .allow_none = true,
    .doc = "The size of all files of one account together.",
};
static const struct setting_impact upload_above_impact = { .stmt = &upload_above,
                                                           .what = "users with more files" };
struct setting upload_files_max = {
    .name = "upload.files-max",
    .impact = &upload_above_impact,
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .unit = "files",
    .def = 10000,
    .min = 1,
    .max = 1000000,
    .allow_none = true,
    .doc = "How many files of one account are kept at the same time.",
};
struct setting upload_daily = {
    .name = "upload.daily",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 1ll << 30,
    .min = 1024,
    .max = 1ll << 50,
    .allow_none = true,
    .doc = "How much one account may upload within 24 hours.",
};
struct setting upload_keep = {
    .name = "upload.keep",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 90 * 86400ll * 1000,
    .min = 60 * 1000,
    .max = 3650 * 86400ll * 1000,
    .allow_none = true,
    .doc = "How long a file is kept.",
};
static struct setting upload_slot_time = {
    .name = "upload.slot-time",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 300 * 1000,
    .min = 10 * 1000,
    .max = 86400ll * 1000,
    .doc = "How long a client has to upload a file after it was given a slot.",
};
struct setting upload_types = {
    .name = "upload.types",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_TEXT,
    .max = 4096,
    .def_text = "*/*",
    .check = upload_types_ok,
    .form = "types as image/png, families as image/*, or */*, separated by spaces",
    .doc = "Content types that may be stored, separated by spaces: \"image/* video/* "
           "application/pdf\". Parameters of a type, as charset, do not count.",
};
static struct setting upload_base = {
    .name = "upload.base-url",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_TEXT,
    .max = 512,
    .def_text = "",
    .check = http_is_url,
    .form = HTTP_FORM_URL,
    .doc = "Where clients reach files, as \"https://files.example.org\". Empty: http.base-url, or "
           "https://DOMAIN:PORT with the domain of the user and the first HTTPS listener.",
};

struct metric upload_stored_files = {
    .name = "muster_upload_stored_files",
    .kind = METRIC_COUNTER,
    .help = "Files that were stored.",
    .also = "MFTFilesUploaded",
    .also_period = "MFTFilesUploadedLastTimeslice",
};
struct metric upload_served_files = {
    .name = "muster_upload_served_files",
    .kind = METRIC_COUNTER,
    .help = "Answers with a file, or a part of one, that were sent to their end.",
    .also = "MFTFilesDownloaded",
    .also_period = "MFTFilesDownloadedLastTimeslice",
};
struct metric upload_stored = {
    .name = "muster_upload_stored_bytes",
    .kind = METRIC_COUNTER,
    .help = "Bytes of files that were stored.",
    .also_period = "MFTBytesUpoadedLastTimeslice",
};
struct metric upload_served = {
    .name = "muster_upload_served_bytes",
    .kind = METRIC_COUNTER,
    .help = "Bytes of files that were fetched.",
    .also_period = "MFTBytesDownloadedLastTimeslice",
};
struct metric upload_refused = { .name = "muster_upload_refused",
                                 .kind = METRIC_COUNTER,
                                 .help = "Slots and files that were refused." };
struct metric upload_removed = { .name = "muster_upload_removed",
                                 .kind = METRIC_COUNTER,
                                 .help = "Files that were removed because they had expired." };
struct alarm upload_disk_alarm = {
    .name = "upload.disk",
    .severity = ALARM_ERROR,
    .text = "Files that users upload cannot be stored.",
    .action = "Look at the detail. If the disk is full, free space on the disk of the data folder, "
              "or lower upload.keep. Files leave 64 MiB free for the database, or a sixteenth of a "
              "small disk. The alarm is cleared when the next file is stored.",
    .explanation = "Uploads stop before the disk is full, so that the database still can write.",
    .raised_when = "A file could not be written, or the disk has too little space left.",
    .cleared_when = "A file is stored again.",
    .also = "XcpMFTExtFsMountError XcpMFTExtFsFreeSpaceWarn",
};
struct alarm upload_key_alarm = {
    .name = "upload.key",
    .severity = ALARM_ERROR,
    .text = "Users cannot upload files: the key that signs their slots cannot be used.",
    .action = "Look at the detail. Restore uploads/upload.key in the data folder from a backup, "
              "owned by the user of musterd and with mode 0600. Or remove the file, so that a new "
              "key is made; upload slots that were given before are then void. Then restart.",
    .explanation = "The key signs the addresses of upload slots. Without it nobody can get a slot.",
    .raised_when = "The file with the key cannot be read at the start.",
    .cleared_when = "The server starts with a key.",
};
struct log_area log_upload = { .name = "upload" };

static void add_base(struct buf *out, slice domain)
{
    slice base = slice_without_end(setting_text_of(&upload_base, domain), '/', 0);
    if (base.len > 0)
        buf_add(out, base);
    else
        http_public_base(domain, out);
}

static void upload_too_large(struct iq *iq)
{
    metric_add(&upload_refused, 1);
    iq_error_with(iq, SE_NOT_ACCEPTABLE, SLICE("the file is too large"),
                  slice_of(arena_printf(iq->tmp,
                                        "<file-too-large xmlns='" NS_UPLOAD
                                        "'><max-file-size>%lld</max-file-size></file-too-large>",
                                        (long long)setting_int(&upload_bytes_max))));
}

/* §5: resource-constraint, and for the daily limit when to try again. */
static void over_quota(struct iq *iq, uint64_t retry_us)
{
    char stamp[CLOCK_STAMP_LEN];
    metric_add(&upload_refused, 1);
    if (retry_us == 0) {
        iq_error(iq, SE_RESOURCE_CONSTRAINT,
                 SLICE("you have as many files as you may have, or they take all your room"));
        return;
    }
    struct buf retry;
    struct xml_write x;
    clock_stamp(stamp, retry_us);
    xml_begin(&x, &retry, XML_PART_MAX);
    xml_open(&x, "retry", NS_UPLOAD);
    xml_attr(&x, "stamp", slice_of(stamp));
    xml_close(&x);
    iq_error_with(iq, SE_RESOURCE_CONSTRAINT, SLICE("that is all for today"), buf_fit(&retry));
    buf_fini(&retry);
}

static void answer_slot(struct iq *iq, struct upload_slot *slot)
{
    struct buf out, url;
    struct xml_write x;
    ensure(slot->size > 0);
    rand_hex(slot->id, UPLOAD_ID_LEN / 2);
    slot->until_us =
        loop_wall_us(worker_loop(iq->worker)) + (uint64_t)setting_int(&upload_slot_time) * 1000;
    xml_begin(&x, &out, XML_PART_MAX);
    buf_init(&url, XML_PART_MAX);
    add_base(&url, jid_split(stanza_from(iq->st)).domain);
    upload_url_path(&url, slice_of(slot->id), slot->name);
    xml_open(&x, "slot", NS_UPLOAD);
    xml_empty_with(&x, "get", NULL, "url", buf_slice(&url));
    buf_lit(&url, "?");
    upload_sign(&url, slot);
    xml_open_with(&x, "put", NULL, "url", buf_slice(&url));
    xml_close_all(&x);
    out.overflow |= url.overflow;
    buf_fini(&url);
    iq_result_buf(iq, &out);
}

/* The request as it was checked; read again, since a held IQ keeps no more. false: the type is
 * none.
 */
static bool slot_of(const struct iq *iq, struct upload_slot *slot)
{
    slice type = elem_attr(&iq->payload, "content-type", iq->tmp);
    *slot = (struct upload_slot){ .name = elem_attr(&iq->payload, "filename", iq->tmp) };
    if (!slice_int(elem_attr(&iq->payload, "size", iq->tmp), &slot->size))
        slot->size = 0;
    return type.len == 0 || upload_type_read(type, iq->tmp, &slot->type) == OK;
}

static void usage_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct iq *iq = arg;
    struct upload_slot slot;
    ensure(iq->held);
    if (result != STORE_OK) {
        iq_error(iq, stanza_error_of(err_of_store(result)), (slice){ 0 });
        return;
    }
    if (store_row_count(b, 0) == 0) {
        iq_error(iq, SE_FORBIDDEN, SLICE("files are for users of this server"));
        return;
    }
    bool typed = slot_of(iq, &slot);
    ensure(typed);
    slot.owner = store_int(b, 0, 0, 0);
    int64_t all = store_int(b, 0, 0, 1), today = store_int(b, 0, 0, 2);
    uint64_t oldest = (uint64_t)store_int(b, 0, 0, 3);
    if (all + slot.size > setting_int(&upload_quota) ||
        store_int(b, 0, 0, 4) >= setting_int(&upload_files_max))
        over_quota(iq, 0);
    else if (today + slot.size > setting_int(&upload_daily))
        over_quota(iq, (oldest > 0 ? oldest : loop_wall_us(worker_loop(iq->worker))) + day_us);
    else
        answer_slot(iq, &slot);
}

static bool upload_is_ours(const struct iq *iq)
{
    struct jid from = jid_split(stanza_from(iq->st));
    return from.local.len > 0 && node_serves(worker_node(iq->worker), from.domain);
}

static void slot_request(struct iq *iq)
{
    struct upload_slot slot;
    bool typed = slot_of(iq, &slot);
    if (!upload_is_ours(iq)) {
        iq_error(iq, SE_FORBIDDEN, SLICE("files are for users of this server"));
    } else if (!upload_has_key()) {
        iq_error(iq, SE_SERVICE_UNAVAILABLE, SLICE("files cannot be stored at the moment"));
    } else if (!upload_name_ok(slot.name)) {
        iq_error(iq, SE_BAD_REQUEST, SLICE("`filename` is the name of a file, without a path"));
    } else if (slot.size <= 0) {
        iq_error(iq, SE_BAD_REQUEST, SLICE("`size` is a number of bytes, at least 1"));
    } else if (!typed) {
        iq_error(iq, SE_BAD_REQUEST,
                 SLICE("`content-type` is a media type, as text/plain or text/plain; "
                       "charset=utf-8"));
    } else if (slot.size > setting_int(&upload_bytes_max)) {
        upload_too_large(iq);
    } else if (!upload_type_allowed(slot.type)) {
        metric_add(&upload_refused, 1);
        iq_error(iq, SE_NOT_ACCEPTABLE, SLICE("files of this type are not stored here"));
    } else {
        struct store_batch *b = store_read(worker_store(iq->worker), 0);
        store_read_turn(b, hash_keyed(stanza_from_bare(iq->st)));
        uint64_t since = loop_wall_us(worker_loop(iq->worker)) - day_us;
        STORE_ADD(b, &upload_owner, STORE_ANY_ROWS, SV_T(stanza_from_bare(iq->st)), SV_I(since));
        struct iq *held = iq_hold(iq);
        store_submit(b, worker_loop(held->worker), 0, usage_read, held);
    }
}

/* §4: the largest size in a form of disco#info. */
static bool upload_discover(struct iq *iq, slice node);

static const struct iq_rule host_rules[] = {
    { TYPE_GET, NS_UPLOAD, "request", IQ_TO_HOST, slot_request },
    { 0 },
};
static const struct host hosts[] = {
    { .label = "upload",
      .category = "store",
      .type = "file",
      .name = "Files",
      .disco = (const char *const[]){ NS_UPLOAD, NULL },
      .enabled = &upload_enabled,
      .iq = host_rules },
    { 0 },
};

static bool upload_discover(struct iq *iq, slice node)
{
    struct buf out;
    struct xml_write x;
    if (iq->host != hosts || node.len > 0 || !slice_is(iq->payload.ns_uri, NS_DISCO_INFO))
        return false;
    xml_begin(&x, &out, XML_PART_MAX);
    xml_open(&x, "query", NS_DISCO_INFO);
    xml_raw(&x, SLICE("<identity category='store' type='file' name='Files'/>"
                      "<feature var='" NS_DISCO_INFO "'/><feature var='" NS_DISCO_ITEMS
                      "'/><feature var='" NS_UPLOAD "'/>"));
    form_open(&x, FORM_RESULT, NS_UPLOAD);
    form_put_int(&x, "max-file-size", setting_int(&upload_bytes_max));
    form_close(&x);
    iq_result_xml(iq, &x);
    return true;
}

static void upload_remove_all(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &upload_unref_all, STORE_ANY_ROWS, SV_I(a->id));
    STORE_ADD(b, &upload_delete_all, STORE_ANY_ROWS, SV_I(a->id));
}

static struct setting *const settings[] = {
    &upload_enabled, &upload_bytes_max, &upload_files_max, &upload_quota, &upload_daily,
    &upload_keep,    &upload_slot_time, &upload_types,     &upload_base,  NULL
};

const struct feature upload_feature = {
    .name = "upload",
    .hosts = hosts,
    .http = upload_routes,
    .xeps =
        (const struct xep[]){
            { "0363", "1.1.0", "HTTP File Upload", "0.1.0", "services/test_upload", NULL }, { 0 } },
    .schema = &upload_schema,
    .facts = (const struct account_fact[]){ { "uploaded files", &upload_count, 1 },
                                            { "uploaded bytes", &upload_count, 2 },
                                            { 0 } },
    .settings = settings,
    .commands = (struct command *const[]){ &upload_command_list, &upload_command_quota,
                                           &upload_command_del, &upload_command_sweep, NULL },
    .metrics =
        (struct metric *const[]){ &upload_stored, &upload_stored_files, &upload_served,
                                  &upload_served_files, &upload_refused, &upload_removed, NULL },
    .alarms = (struct alarm *const[]){ &upload_disk_alarm, &upload_key_alarm, NULL },
    .logs = (struct log_area *const[]){ &log_upload, NULL },
    .worker.start = upload_sweep_start,
    .worker.stop = upload_sweep_stop,
    .account.remove = upload_remove_all,
    .disco_get = upload_discover,
};
