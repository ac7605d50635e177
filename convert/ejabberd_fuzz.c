#include "convert/convert.h"
#include "convert/test_output.h"
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A dump with any rows is converted, or an error says something; each line of the output is JSON.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    struct output o;
    struct why why = { "" };
    int fd = memfd_create("dump", MFD_CLOEXEC);
    ensure(fd >= 0 && write(fd, "{tables,[]}.\n", 13) == 13);
    ensure(size == 0 || write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    test_output_begin(&o);
    ensure((ejabberd_convert(&o, path, NULL, &why) == OK) == (why.text[0] == '\0'));
    json_decref(test_output_end(&o));
    close(fd);
    return 0;
}
