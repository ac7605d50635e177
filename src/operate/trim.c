#include "operate/trim.h"
#include <link.h>
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* Executable segments that are not writable were never changed, so their pages can be dropped.
 * Read-only data cannot, because relocation has written to some of it. */
static int drop_code(struct dl_phdr_info *object, size_t size, void *unused)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    (void)size;
    (void)unused;
    for (unsigned i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *seg = &object->dlpi_phdr[i];
        if (seg->p_type != PT_LOAD || (seg->p_flags & PF_X) == 0 || (seg->p_flags & PF_W) != 0)
            continue;
        uintptr_t from = (object->dlpi_addr + seg->p_vaddr) & ~(page - 1);
        uintptr_t to = (object->dlpi_addr + seg->p_vaddr + seg->p_memsz) & ~(page - 1);
        if (to > from)
            (void)madvise((void *)from, to - from, MADV_DONTNEED); /* may fail */
    }
    return 0;
}

void trim_after_start(void)
{
    malloc_trim(0);
    dl_iterate_phdr(drop_code, NULL);
}
