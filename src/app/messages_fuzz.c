/* Messages as another node would send them: whatever they are, the worker that gets them goes on.
 * An input is messages, each behind its length: its bytes, or, if it begins with BY_ROW, the number
 * of a row and values of its fields. Each finds what those before it in the input did, and nothing
 * of an earlier input. A message that can be read must be the same when it is packed and read
 * again. It is then delivered to a node with all features, two accounts, a session whose stream is
 * on the other node, and a stream whose session is. */
#include "app/features.h"
#include "base/arena.h"
#include "base/buf.h"
#include "bus/bus.h"
#include "core/core.h"
#include "core/test_node.h"
#include "home/message_wire.h"
#include "home/test_message.h"

enum { BYTES_MAX = 8192, OTHER = 2, BY_ROW = 0xfe };
enum { DATABASE_MAX = 16 << 20 };

struct stream {
    uint64_t id;
    uint64_t bytes;
};

static struct test_node t;
static uint64_t sent_bytes;
static struct buf database; /* the file with two accounts; each input begins with it */
static bool delivered;      /* since the node was opened: it is not what it was */

static void gate_down(struct stream *s, const struct down *d)
{
    char out[BYTES_MAX];
    for (size_t i = 0; i < d->text.len; i++)
        s->bytes += (unsigned char)d->text.ptr[i];
    s->bytes += strlen(stanza_error_name(d->error == SE_NONE ? SE_GONE : d->error));
    if (d->st != NULL && stanza_write_max(d->st, d->note) <= sizeof out)
        s->bytes += stanza_write(out, d->st, d->note);
}
static const struct gate_ops gate = { .down = gate_down };

static void send(struct bus *bus, unsigned from, uint32_t node, unsigned to, slice bytes)
{
    ensure(bus == t.node->bus && from == 0 && node != t.node->id);
    sent_bytes += bytes.len + to;
}
static uint32_t registry(struct bus *bus, unsigned slot)
{
    (void)bus;
    static const slice here[] = { SLICE_INIT("a@localhost"), SLICE_INIT("b@localhost"),
                                  SLICE_INIT("room@conference.localhost") };
    for (unsigned i = 0; i < sizeof here / sizeof here[0]; i++)
        if (slot == node_slot(here[i]))
            return 1;
    return slot % 2 + 1;
}
static uint32_t duties(struct bus *bus)
{
    (void)bus;
    return 1;
}
static unsigned nodes(struct bus *bus, uint32_t out[BUS_NODES_MAX])
{
    (void)bus;
    out[0] = 1;
    out[1] = OTHER;
    return 2;
}
static unsigned workers(struct bus *bus, uint32_t node)
{
    (void)bus;
    return node;
}

static bool shares(struct bus *bus, uint32_t node)
{
    (void)bus;
    return node == OTHER;
}

/* Of all features, but without commands: they stop servers and write files. Those with a state on
 * each worker start there. */
static void use_features(void)
{
    static struct feature tame[TEST_FEATURES_MAX];
    static const struct feature *list[TEST_FEATURES_MAX + 1];
    for (unsigned i = 0; features_all[i] != NULL; i++) {
        ensure(i < TEST_FEATURES_MAX);
        tame[i] = *features_all[i];
        tame[i].commands = NULL;
        if (tame[i].worker.slot == NULL) /* the others begin what a process has once */
            tame[i].worker.start = tame[i].worker.stop = NULL;
        if (tame[i].logs != NULL && tame[i].logs[0] == &log_store)
            tame[i].logs = NULL; /* test_features_use() registers it */
        list[i] = &tame[i];
    }
    test_features_use(list);
}

/* The database. */

static FILE *database_file(const char *how)
{
    char path[TEST_FOLDER_BYTES + 8];
    snprintf(path, sizeof path, "%s/db", t.dir);
    FILE *file = fopen(path, how);
    ensure(file != NULL);
    return file;
}

static void database_make(void)
{
    use_features();
    test_node_open(&t, &gate);
    (void)test_node_account(&t, "a@localhost");
    (void)test_node_account(&t, "b@localhost");
    test_node_stop(&t);
    FILE *file = database_file("r");
    buf_init(&database, DATABASE_MAX);
    database.len = fread(buf_reserve(&database, DATABASE_MAX), 1, DATABASE_MAX, file);
    ensure(feof(file) && database.len > 0);
    fclose(file);
    test_folder_remove(t.dir);
}

static void database_place(void)
{
    test_folder_make(t.dir);
    FILE *file = database_file("w");
    ensure(fwrite(database.ptr, 1, database.len, file) == database.len && fclose(file) == 0);
}

static void open_node(void)
{
    static const struct bus_ops ops = { .send = send,
                                        .registry = registry,
                                        .duties = duties,
                                        .nodes = nodes,
                                        .workers = workers,
                                        .shares = shares };
    static struct bus bus = { &ops };
    database_place();
    test_node_start(&t, &gate);
    t.node->bus = &bus;
    worker_of_thread = t.w;
    EMIT(worker.start, t.w);
    (void)test_node_load(&t, "a@localhost");
    (void)test_node_load(&t, "b@localhost");
}

/* With all that the messages have changed. */
static void close_node(void)
{
    node_gone(t.w, OTHER); /* ends the questions to it, which own memory */
    EMIT(worker.stop, t.w);
    test_node_close(&t);
    worker_of_thread = NULL;
}

enum { STREAM = 1 << 16 };

static uint64_t session_id(void)
{
    return (uint64_t)node_slot(SLICE("a@localhost")) << ORIGIN_SLOT_SHIFT | 1;
}

static void open_session(void)
{
    static struct stream stream;
    t.w->next_id = 0;
    t.w->question = 0;
    struct link link = test_node_stream(&t, &stream);
    ensure(link.id == STREAM);
    session_bind(t.w, &(struct bind_request){ .link = { .id = STREAM, .node = OTHER },
                                              .bare = SLICE("a@localhost"),
                                              .resource = SLICE("r") });
    struct session *s = NULL;
    for (uint32_t i = 0; s == NULL || s->link.id != STREAM;)
        ensure((s = map_next(&core_of(t.w)->sessions, &i)) != NULL);
    map_del(&core_of(t.w)->sessions, (slice){ (const char *)&s->id, sizeof s->id });
    s->id = session_id();
    map_put(&core_of(t.w)->sessions, s);
}

static void close_sessions(void)
{
    struct session *s;
    for (uint32_t i = 0; (s = map_next(&core_of(t.w)->sessions, &i)) != NULL;)
        session_end(s, END_KICKED);
}

/* Its bytes, as this release packs it. false: it is no message. */
static bool repack(slice bytes, struct buf *out)
{
    struct message_from from = { .node = OTHER };
    const struct message_row *row;
    struct why why;
    void *message;
    if (message_unpack(&row, &message, bytes, t.w, &from, &why) != OK)
        return false;
    buf_init(out, 1 << 20);
    message_pack(out, row, message, &from);
    message_release(row, message);
    ensure(!out->overflow);
    return true;
}

static void check_pack(slice bytes)
{
    struct buf once, twice;
    if (!repack(bytes, &once))
        return;
    delivered = true;
    ensure(repack(buf_slice(&once), &twice));
    ensure(slice_eq(buf_slice(&once), buf_slice(&twice)));
    buf_fini(&once);
    buf_fini(&twice);
}

/* A message by its row. */

/* The next bytes of the input as a number; 0 behind its end. */
static uint64_t take(slice *in, size_t bytes)
{
    uint64_t n = 0;
    if (in->len < bytes)
        return 0;
    memcpy(&n, in->ptr, bytes);
    *in = slice_from(*in, bytes);
    return n;
}

/* A length, and so many bytes. */
static slice take_text(slice *in)
{
    size_t len = (size_t)take(in, 2);
    slice text = { in->ptr, len < in->len ? len : in->len };
    *in = slice_from(*in, text.len);
    return text;
}

/* One that something is at. */
static slice take_jid(const struct test_room *room, slice *in, bool full)
{
    static const char *const bare[] = { "a@localhost",   "b@localhost", "room@conference.localhost",
                                        "localhost",     "c@localhost", "conference.localhost",
                                        "x.example.org", "A@localhost" };
    const char *jid = bare[take(in, 1) % (sizeof bare / sizeof bare[0])];
    return slice_of(full ? arena_printf(room->tmp, "%s/r", jid) : jid);
}

static uint64_t take_id(slice *in)
{
    uint64_t how = take(in, 1);
    return how % 4 == 0   ? session_id()
           : how % 4 == 1 ? STREAM
           : how % 4 == 2 ? how / 4
                          : take(in, sizeof(uint64_t));
}

static slice take_list(const struct test_room *room, slice *in, bool jids)
{
    struct buf b;
    buf_init(&b, BYTES_MAX);
    for (uint64_t n = take(in, 1) % 5; n > 0; n--)
        if (jids)
            jids_add(&b, take_jid(room, in, n % 2 == 1), (uint32_t)take(in, 1));
        else
            texts_add(&b, take_text(in));
    slice list = slice_dup(room->tmp, buf_fit(&b));
    buf_fini(&b);
    return list;
}

static void take_stanza(const struct test_room *room, slice *in, struct stanza **out)
{
    slice text = take_text(in);
    if (text.len == 0 || stanza_load(out, text, room->xml, room->tmp) != OK)
        *out = test_stanza_sample(room, SAMPLE_TYPICAL);
}

static void take_own(const struct test_room *room, slice *in, const struct message_field *f,
                     void *member)
{
    switch (f->type) {
    case MF_BOOL:
        *(bool *)member = take(in, 1) % 2 == 1;
        break;
    case MF_U8:
        *(uint8_t *)member = (uint8_t)take(in, 1);
        break;
    case MF_U32:
        *(uint32_t *)member = (uint32_t)take_id(in);
        break;
    case MF_U64:
    case MF_I64:
        *(uint64_t *)member = take_id(in);
        break;
    case MF_STANZA:
        take_stanza(room, in, member);
        break;
    case MF_BARE:
    case MF_FULL:
    case MF_JID:
        *(slice *)member = take_jid(room, in, f->type != MF_BARE);
        break;
    case MF_JIDS:
    case MF_TEXTS:
        *(slice *)member = take_list(room, in, f->type == MF_JIDS);
        break;
    default:
        *(slice *)member = take_text(in);
        break;
    }
}

/* The row of that number among those for other nodes, from the first again behind the last. */
static const struct message_row *nth_row(uint64_t number)
{
    for (uint32_t id = 0;; id = (id + 1) % MESSAGE_IDS) {
        const struct message_row *row = message_find(id);
        if (row != NULL && row->scope == MESSAGE_CLUSTER && number-- == 0)
            return row;
    }
}

static void pack_by_row(struct buf *out, slice in)
{
    const struct test_room room = { loop_scratch(t.w->loop), t.w->xml };
    const struct message_row *row = nth_row(take(&in, 1));
    uint64_t part = take(&in, 1);
    struct message_from from = { .question = (uint32_t)take(&in, 1) };
    void *message = arena_alloc(room.tmp, 1, row->size);
    from.part = part <= PART_ANSWER ? (uint8_t)part : test_message_part(row);
    for (const struct message_field *f = row->fields; f->type != MF_END; f++) {
        uint64_t how = take(&in, 1) % 4;
        if (how == SAMPLES)
            take_own(&room, &in, f, (char *)message + f->offset);
        else /* the largest texts are of messages_test.c */
            test_field_set(&room, f, message,
                           f->type < MF_BYTES || how == 0 ? (enum test_sample)how : SAMPLE_TYPICAL);
    }
    buf_init(out, 1 << 20);
    message_pack(out, row, message, &from);
    ensure(!out->overflow);
    message_release(row, message);
}

static bool receive_now(void *bytes) /* test_node_fn */
{
    messages_receive(t.w, &(struct bus_from){ .node = OTHER, .epoch = 1, .seq = 1 },
                     *(slice *)bytes);
    return true;
}

/* What the other node sends, or what that is made of. */
static void receive(slice bytes)
{
    struct buf made = { 0 };
    if (bytes.len > 0 && (unsigned char)bytes.ptr[0] == BY_ROW) {
        pack_by_row(&made, slice_from(bytes, 1));
        bytes = buf_slice(&made);
    }
    check_pack(bytes);
    test_node_run(&t, receive_now, &bytes);
    arena_reset(loop_scratch(t.w->loop));
    test_node_run(&t, test_node_is_idle, t.store);
    buf_fini(&made);
}

static void begin(void)
{
    delivered = false;
    open_node();
    open_session();
}

static void end(void)
{
    close_sessions();
    close_node();
}

/* At the end of the program. */
static void end_all(void)
{
    if (t.node != NULL)
        end();
    buf_fini(&database);
}

/* A stanza of the session's client: if the session did not get it, nothing would answer. */
static void check_session(void)
{
    static const char roster[] =
        "\xfe\4\0\0" /* message up, part, question */
        "\3\0"       /* the session */
        "\3\1"       /* its stream */
        "\3\0"       /* UP_STANZA */
        "\0"         /* num */
        "\3\x62\0<iq from='a@localhost/r' to='a@localhost' type='get' id='1'>"
        "<query xmlns='jabber:iq:roster'/></iq>"
        "\3\x0a"; /* OTHER */
    begin();
    uint64_t before = sent_bytes;
    receive((slice){ roster, sizeof roster - 1 });
    ensure(sent_bytes > before);
    end();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice in = { (const char *)data, size };
    if (size > BYTES_MAX)
        return 0;
    if (database.len == 0) {
        database_make();
        atexit(end_all);
        check_session();
    }
    if (t.node == NULL)
        begin();
    while (in.len > 2)
        receive(take_text(&in));
    if (delivered) /* a new node is slow, and most inputs are no messages */
        end();
    return 0;
}
