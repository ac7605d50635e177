#include "app/node_file.h"
#include "base/buf.h"
#include "base/ensure.h"

static struct setting number = {
    .name = "a.number", .scope = SCOPE_CLUSTER, .type = PARAM_INT, .def = 1, .max = 9
};
static struct setting text = {
    .name = "a.text", .scope = SCOPE_CLUSTER, .type = PARAM_TEXT, .def_text = "", .max = 64
};

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    setting_register(&number);
    setting_register(&text);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct node_file *f;
    struct buf errors;
    buf_init(&errors, 64 * 1024);
    enum err e = node_file_parse(&f, "/f/m.yaml", (slice){ (const char *)data, len }, &errors);
    ensure((e == OK) == (f != NULL));
    ensure((e == OK) == (errors.len == 0));
    if (f != NULL) {
        ensure(f->domains.count > 0 && f->node_id >= 1 && f->data[0] == '/');
        ensure((f->certificate == NULL) == (f->key == NULL));
    }
    node_file_free(&f);
    buf_fini(&errors);
    return 0;
}
