#include "base/pages.h"
#include "base/ensure.h"
#include "base/list.h"
#include <assert.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>

/* A slab is aligned to its size, so that its address follows from that of a block. Its header takes
 * the place of the first block. */
enum { SLAB_BYTES = 1 << 20, BLOCKS = SLAB_BYTES / PAGES_BYTES };
static const uint64_t all_free = ~(uint64_t)1;
static_assert(BLOCKS == 64, "a bit each");

struct slab {
    struct list node; /* in `open` while a block is free */
    uint64_t free;    /* bits */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list open = { &open, &open }; /* of slabs */
static size_t reserved;

static struct slab *slab_make(void)
{
    char *at = mmap(NULL, 2 * SLAB_BYTES, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ensure(at != MAP_FAILED);
    size_t before = (SLAB_BYTES - ((uintptr_t)at & (SLAB_BYTES - 1))) & (SLAB_BYTES - 1);
    if (before > 0)
        munmap(at, before);
    munmap(at + before + SLAB_BYTES, SLAB_BYTES - before);
    struct slab *s = (struct slab *)(void *)(at + before);
    (void)madvise(s, SLAB_BYTES, MADV_NOHUGEPAGE); /* with huge pages, a freed block would not
                                                    * return memory */
    s->free = all_free;
    list_prepend(&open, &s->node);
    reserved += SLAB_BYTES;
    return s;
}

void *pages_alloc(void)
{
    pthread_mutex_lock(&lock);
    struct slab *s = list_empty(&open) ? slab_make() : CONTAINER_OF(open.next, struct slab, node);
    unsigned i = (unsigned)__builtin_ctzll(s->free);
    s->free &= s->free - 1;
    if (s->free == 0)
        list_remove(&s->node);
    pthread_mutex_unlock(&lock);
    return (char *)s + (size_t)i * PAGES_BYTES;
}

/* The last open slab is kept, so that allocating and freeing one block in turn does not map a slab
 * each time. */
void pages_free(void *block)
{
    struct slab *s = (struct slab *)(void *)((uintptr_t)block & ~(uintptr_t)(SLAB_BYTES - 1));
    size_t i = (size_t)((char *)block - (char *)s) / PAGES_BYTES;
    (void)madvise(block, PAGES_BYTES, MADV_DONTNEED);
    pthread_mutex_lock(&lock);
    ensure((s->free & (uint64_t)1 << i) == 0);
    if (s->free == 0)
        list_prepend(&open, &s->node);
    s->free |= (uint64_t)1 << i;
    bool unused = s->free == all_free && open.next != open.prev;
    if (unused) {
        list_remove(&s->node);
        reserved -= SLAB_BYTES;
    }
    pthread_mutex_unlock(&lock);
    if (unused)
        munmap(s, SLAB_BYTES);
}

size_t pages_reserved(void)
{
    pthread_mutex_lock(&lock);
    size_t bytes = reserved;
    pthread_mutex_unlock(&lock);
    return bytes;
}
