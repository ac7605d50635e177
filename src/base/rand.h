/* rand: random bytes from the kernel, good enough for keys. Aborts if the kernel gives none. Any
 * thread. */
#pragma once
#include <stddef.h>
#include <stdint.h>

void rand_bytes(void *out, size_t len);
uint64_t rand_u64(void);
enum { RAND_HEX_MAX = 64 };
void rand_hex(char *out,
              size_t bytes); /* 2 * bytes lower-case digits and a NUL; at most RAND_HEX_MAX bytes */
