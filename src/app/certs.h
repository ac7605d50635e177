/* certs: the certificates that a node file names, or a self-signed pair in the data folder. */
#pragma once
#include "base/err.h"

struct node_file;
struct tls_ctx;

/* Makes the self-signed pair if the file names no certificate and there is none yet. */
NODISCARD enum err certs_load(struct tls_ctx **out, const struct node_file *file, struct why *why);
/* The same without making files: for --check. Nothing to check where the file names none: OK. */
NODISCARD enum err certs_check(const struct node_file *file, struct why *why);
