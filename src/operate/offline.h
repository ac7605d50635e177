/* offline: work on the data folder while no server runs, with the rights of the user that runs it.
 * What musterd and musterctl share; prints to standard output and error. */
#pragma once
#include "app/node_file.h"
#include "base/buf.h"

enum exit_code { EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_UNREACHABLE };

/* One line for each. */
void print_mistakes(const struct buf *mistakes);
/* The node file, or NULL after its mistakes were printed. node_file_free() it. */
struct node_file *offline_read(const char *path);
/* The file again, with the rights of the user that runs the server; NULL as above. Takes over. */
struct node_file *offline_as_service(struct node_file *file);

typedef enum err offline_fn(const struct node_file *file, const char *arg, struct why *why);
/* Who runs it, for the audit log: "musterd:root", also when the rights are those of the service. */
slice offline_actor(void);
/* Returns an exit code. `program` begins the line that says why it failed. */
int offline(const char *program, const char *path, offline_fn *fn, const char *arg);
