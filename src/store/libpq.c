#include "store/libpq.h"
#include "base/ensure.h"
#include <dlfcn.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <string.h>

/* The functions of libpq that are used: what each returns, its name, its parameters, and these as
 * they are handed on. Those that return nothing come behind. */
/* clang-format off */
#define VALUES(F)                                                                                  \
    F(char *, PQcmdStatus, (PGresult *a), (a))                                                     \
    F(char *, PQcmdTuples, (PGresult *a), (a))                                                     \
    F(PGconn *, PQconnectdb, (const char *a), (a))                                                 \
    F(PGconn *, PQconnectdbParams, (const char *const *a, const char *const *b, int c), (a, b, c)) \
    F(PQconninfoOption *, PQconninfoParse, (const char *a, char **b), (a, b))                      \
    F(int, PQconsumeInput, (PGconn *a), (a))                                                       \
    F(int, PQenterPipelineMode, (PGconn *a), (a))                                                  \
    F(char *, PQerrorMessage, (const PGconn *a), (a))                                              \
    F(PGresult *, PQexec, (PGconn *a, const char *b), (a, b))                                      \
    F(PGresult *, PQexecParams, (PGconn *a, const char *b, int c, const Oid *d,                    \
      const char *const *e, const int *f, const int *g, int h), (a, b, c, d, e, f, g, h))          \
    F(int, PQexitPipelineMode, (PGconn *a), (a))                                                   \
    F(int, PQflush, (PGconn *a), (a))                                                              \
    F(char *, PQfname, (const PGresult *a, int b), (a, b))                                         \
    F(Oid, PQftype, (const PGresult *a, int b), (a, b))                                            \
    F(PGresult *, PQgetResult, (PGconn *a), (a))                                                   \
    F(int, PQgetisnull, (const PGresult *a, int b, int c), (a, b, c))                              \
    F(int, PQgetlength, (const PGresult *a, int b, int c), (a, b, c))                              \
    F(char *, PQgetvalue, (const PGresult *a, int b, int c), (a, b, c))                            \
    F(char *, PQhost, (const PGconn *a), (a))                                                      \
    F(int, PQisBusy, (PGconn *a), (a))                                                             \
    F(int, PQnfields, (const PGresult *a), (a))                                                    \
    F(int, PQntuples, (const PGresult *a), (a))                                                    \
    F(PGPing, PQping, (const char *a), (a))                                                        \
    F(int, PQpipelineSync, (PGconn *a), (a))                                                       \
    F(char *, PQport, (const PGconn *a), (a))                                                      \
    F(int, PQputCopyData, (PGconn *a, const char *b, int c), (a, b, c))                            \
    F(int, PQputCopyEnd, (PGconn *a, const char *b), (a, b))                                       \
    F(char *, PQresultErrorField, (const PGresult *a, int b), (a, b))                              \
    F(char *, PQresultErrorMessage, (const PGresult *a), (a))                                      \
    F(ExecStatusType, PQresultStatus, (const PGresult *a), (a))                                    \
    F(int, PQsendDescribePrepared, (PGconn *a, const char *b), (a, b))                             \
    F(int, PQsendPrepare, (PGconn *a, const char *b, const char *c, int d, const Oid *e),          \
      (a, b, c, d, e))                                                                             \
    F(int, PQsendQueryParams, (PGconn *a, const char *b, int c, const Oid *d,                      \
      const char *const *e, const int *f, const int *g, int h), (a, b, c, d, e, f, g, h))          \
    F(int, PQsendQueryPrepared, (PGconn *a, const char *b, int c, const char *const *d,            \
      const int *e, const int *f, int g), (a, b, c, d, e, f, g))                                   \
    F(int, PQserverVersion, (const PGconn *a), (a))                                                \
    F(PQnoticeReceiver, PQsetNoticeReceiver, (PGconn *a, PQnoticeReceiver b, void *c), (a, b, c))  \
    F(int, PQsetSingleRowMode, (PGconn *a), (a))                                                   \
    F(int, PQsetnonblocking, (PGconn *a, int b), (a, b))                                           \
    F(int, PQsocket, (const PGconn *a), (a))                                                       \
    F(ConnStatusType, PQstatus, (const PGconn *a), (a))
#define ENDS(F)                                                                                    \
    F(void, PQclear, (PGresult *a), (a))                                                           \
    F(void, PQconninfoFree, (PQconninfoOption *a), (a))                                            \
    F(void, PQfinish, (PGconn *a), (a))
#define NUMBER(type, name, parameters, given) AT_##name,
#define TEXT(type, name, parameters, given) #name,
#define FOUND(name) ((__typeof__(&name))functions[AT_##name])
#define VALUE(type, name, parameters, given)                                                       \
    type name parameters { ensure(libpq_load(NULL) == OK); return FOUND(name) given; }
#define END(type, name, parameters, given)                                                         \
    type name parameters { ensure(libpq_load(NULL) == OK); FOUND(name) given; }
/* clang-format on */

enum { VALUES(NUMBER) ENDS(NUMBER) FUNCTIONS };
static const char *const names[FUNCTIONS] = { VALUES(TEXT) ENDS(TEXT) };
static void (*functions[FUNCTIONS])(void);
static struct why failure;
static bool loaded;

static void libpq_open(void)
{
    void *library = dlopen("libpq.so.5", RTLD_NOW | RTLD_LOCAL);
    for (unsigned i = 0; library != NULL && i < FUNCTIONS; i++) {
        void *symbol = dlsym(library, names[i]);
        if (symbol == NULL) {
            library = NULL; /* stays loaded: this is the end of it */
            break;
        }
        memcpy(&functions[i], &symbol, sizeof symbol); /* POSIX says that they are alike */
    }
    loaded = library != NULL;
    if (!loaded)
        why_set(&failure,
                "a database of PostgreSQL needs libpq, which cannot be loaded: %s; apt-get install "
                "libpq5",
                dlerror());
}

enum err libpq_load(struct why *why)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, libpq_open);
    if (!loaded && why != NULL)
        *why = failure;
    return loaded ? OK : E_IO;
}

VALUES(VALUE)
ENDS(END)
