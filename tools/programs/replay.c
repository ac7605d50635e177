/* replay: all fuzz targets in one program, each given the files of its corpus once. A target is a
 * process of its own with a limit of time, so that one which crashes or hangs does not end the
 * others. Prints "@passed NAME" or "@failed NAME: why". The Makefile renames the functions of the
 * targets and makes the table. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SECONDS = 120, FILE_MAX = 4 << 20 };

#define TARGET(name, symbol)                                                                       \
    int symbol##_LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);                         \
    __attribute__((weak)) int symbol##_LLVMFuzzerInitialize(int *argc, char ***argv);
#include "targets.inc"
#undef TARGET

static const struct target {
    const char *name;
    int (*one)(const uint8_t *data, size_t size);
    int (*initialize)(int *argc, char ***argv);
} targets[] = {
#define TARGET(name, symbol)                                                                       \
    { name, symbol##_LLVMFuzzerTestOneInput, symbol##_LLVMFuzzerInitialize },
#include "targets.inc"
#undef TARGET
};

static void replay_file(const struct target *t, const char *path)
{
    static uint8_t all[FILE_MAX];
    FILE *f = fopen(path, "rb");
    size_t size = f == NULL ? 0 : fread(all, 1, sizeof all, f);
    if (f == NULL || !feof(f)) {
        fprintf(stderr, "%s cannot be read, or is larger than 4 MiB\n", path);
        exit(1);
    }
    fclose(f);
    uint8_t *data = malloc(size + 1); /* of its own: an access beyond its end is noticed */
    if (data == NULL)
        exit(1);
    for (size_t i = 0; i < size; i++)
        data[i] = all[i];
    fprintf(stderr, "%s\n", path);
    t->one(data, size);
    free(data);
}

static void replay(const struct target *t, int argc, char **argv)
{
    char folder[256], path[600];
    snprintf(folder, sizeof folder, "fuzz/corpus/%s", t->name);
    if (t->initialize != NULL)
        t->initialize(&argc, &argv);
    t->one((const uint8_t *)"", 0);
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return; /* a target without a corpus */
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
        if (e->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
            replay_file(t, path);
        }
    closedir(dir);
}

static int replayed(const struct target *t, int argc, char **argv)
{
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(SECONDS);
        replay(t, argc, argv);
        exit(0);
    }
    if (pid > 0 && waitpid(pid, &status, 0) == pid && status == 0) {
        printf("@passed %s\n", t->name);
        return 0;
    }
    printf("@failed %s: the last file named above; status %d\n", t->name, status);
    return 1;
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++)
        failed |= replayed(&targets[i], argc, argv);
    return failed;
}
