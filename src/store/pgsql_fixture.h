/* pgsql_fixture: a private PostgreSQL for tests: a server in a folder of its own, reached by a Unix
 * socket there, which ends with the test program. It does not run as root, as PostgreSQL refuses
 * that. */
#pragma once
#include "base/ensure.h"
#include "base/slice.h"
#include <fcntl.h>
#include <glob.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct pgfix {
    char dir[64], url[160];
    pid_t pid;
};
static struct pgfix pgfix; /* the server that is spoken to */
static char pgfix_bin[256];

/* In a child: the program of PostgreSQL, with its output in the folder. */
static inline void pgfix_exec(char **args)
{
    char path[300], log[96];
    snprintf(path, sizeof path, "%s/%s", pgfix_bin, args[0]);
    snprintf(log, sizeof log, "%s/log", pgfix.dir);
    if (geteuid() == 0) {
        const struct passwd *user = getpwnam("postgres");
        user = user != NULL ? user : getpwnam("nobody");
        if (user == NULL || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0)
            _exit(126);
    }
    prctl(PR_SET_PDEATHSIG, SIGQUIT); /* no server is left when a test crashes */
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0 || chdir(pgfix.dir) != 0)
        _exit(126);
    setenv("LC_ALL", "C", 1);
    args[0] = path; /* by which it finds the others; its folder need not be in PATH */
    execv(path, args);
    _exit(127);
}

static inline pid_t pgfix_spawn(char **args)
{
    pid_t pid = fork();
    ensure(pid >= 0);
    if (pid == 0)
        pgfix_exec(args);
    return pid;
}

static inline void pgfix_wait_ready(void)
{
    for (int i = 0; i < 1500; i++) {
        if (PQping(pgfix.url) == PQPING_OK)
            return;
        usleep(20000);
    }
    fprintf(stderr, "PostgreSQL does not start: see %s/log\n", pgfix.dir);
    abort();
}

static inline void pgfix_up(void)
{
    char *args[] = { "postgres", "-D", "data", "-k", pgfix.dir, "-c", "listen_addresses=", NULL };
    pgfix.pid = pgfix_spawn(args);
    pgfix_wait_ready();
}

static inline PGresult *pgfix_ask(const char *sql)
{
    PGconn *c = PQconnectdb(pgfix.url);
    PGresult *res = PQexec(c, "SET client_min_messages = warning");
    PQclear(res);
    res = PQexec(c, sql);
    ExecStatusType status = PQresultStatus(res);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        fprintf(stderr, "%s: %s%s\n", sql, PQerrorMessage(c), PQresultErrorMessage(res));
        abort();
    }
    PQfinish(c);
    return res;
}

static inline void pgfix_run(const char *sql) { PQclear(pgfix_ask(sql)); }

static inline int64_t pgfix_int(const char *sql)
{
    int64_t num = 0;
    PGresult *res = pgfix_ask(sql);
    ensure(PQntuples(res) == 1 && slice_int(slice_of(PQgetvalue(res, 0, 0)), &num));
    PQclear(res);
    return num;
}

/* SIGQUIT: as in a crash. SIGINT: sessions are ended first. */
static inline void pgfix_down(int sig)
{
    int status;
    kill(pgfix.pid, sig);
    ensure(waitpid(pgfix.pid, &status, 0) == pgfix.pid);
    pgfix.pid = 0;
}

static inline void pgfix_call(char **args)
{
    int status = 0;
    pid_t pid = pgfix_spawn(args);
    ensure(waitpid(pid, &status, 0) == pid && status == 0);
}

/* A folder of the user that PostgreSQL runs as. */
static inline void pgfix_folder(void)
{
    const struct passwd *user = getpwnam("postgres");
    user = user != NULL ? user : getpwnam("nobody");
    snprintf(pgfix.dir, sizeof pgfix.dir, "/tmp/muster-pgsql-XXXXXX");
    ensure(mkdtemp(pgfix.dir) != NULL);
    if (geteuid() == 0)
        ensure(user != NULL && chown(pgfix.dir, user->pw_uid, user->pw_gid) == 0);
}

/* False, with a message: PostgreSQL is not installed. */
static inline bool pgfix_start(void)
{
    glob_t found;
    if (glob("/usr/lib/postgresql/*/bin", 0, NULL, &found) != 0) {
        printf("PostgreSQL is not installed: its tests are left out\n");
        return false;
    }
    snprintf(pgfix_bin, sizeof pgfix_bin, "%s", found.gl_pathv[found.gl_pathc - 1]);
    globfree(&found);
    pgfix_folder();
    char *args[] = { "initdb", "-D", "data", "-U",         "muster", "-A",
                     "trust",  "-E", "UTF8", "--locale=C", "-N",     NULL };
    pgfix_call(args);
    snprintf(pgfix.url, sizeof pgfix.url, "postgresql://muster@/postgres?host=%s", pgfix.dir);
    pgfix_up();
    pgfix_run("CREATE DATABASE muster");
    snprintf(pgfix.url, sizeof pgfix.url, "postgresql://muster@/muster?host=%s", pgfix.dir);
    return true;
}

/* Another server, which follows this one, and is spoken to from here on. */
static inline void pgfix_standby(void)
{
    char primary[64];
    memcpy(primary, pgfix.dir, sizeof primary);
    pgfix_folder();
    char *args[] = { "pg_basebackup",     "-h", primary, "-U", "muster", "-D", "data", "-R",
                     "--checkpoint=fast", "-N", NULL };
    pgfix_call(args);
    snprintf(pgfix.url, sizeof pgfix.url, "postgresql://muster@/muster?host=%s", pgfix.dir);
    pgfix_up();
}

static inline void pgfix_end(void)
{
    int status;
    if (pgfix.pid > 0)
        pgfix_down(SIGQUIT);
    pid_t pid = fork();
    ensure(pid >= 0);
    if (pid == 0) {
        execlp("rm", "rm", "-rf", pgfix.dir, (char *)NULL);
        _exit(127);
    }
    ensure(waitpid(pid, &status, 0) == pid && status == 0);
}
