#include "base/slice.h"
#include "store/libpq.h"
#include "store/store_pgsql.h"
#include <stdio.h>
#include <stdlib.h>

static const char *pgsql_url_value_of(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword != NULL; options++)
        if (strcmp(options->keyword, keyword) == 0)
            return options->val != NULL ? options->val : "";
    return "";
}

/* Ports, by commas. A password with a "/" in it would be read as one, and shown by messages. */
static bool ports_are_fine(const char *ports)
{
    slice port, rest = slice_of(ports);
    int64_t number;
    while (rest.len > 0) {
        slice_cut(rest, ',', &port, &rest);
        if (port.len > 0 && (!slice_int(port, &number) || number < 1 || number > 65535))
            return false;
    }
    return true;
}

enum err pg_url_name(const char *url, char *out, size_t cap, struct why *why)
{
    enum err e = libpq_load(why);
    if (e != OK)
        return e;
    e = E_SYNTAX;
    PQconninfoOption *options = PQconninfoParse(url, NULL); /* its message would show the URL */
    if (options != NULL) {
        const char *name = pgsql_url_value_of(options, "dbname"),
                   *host = pgsql_url_value_of(options, "host");
        const char *ports = pgsql_url_value_of(options, "port");
        if (*host == '\0')
            host = pgsql_url_value_of(options, "hostaddr");
        if (strpbrk(host, "@?#") == NULL && strpbrk(name, "@/?#") == NULL && ports_are_fine(ports))
            e = OK;
        if (ports[strspn(ports, ",")] == '\0')
            ports = ""; /* several hosts, all with the usual port */
        snprintf(out, cap, "%s on %s%s%s", *name != '\0' ? name : "(by name of the user)",
                 *host != '\0' ? host : "this machine", *ports != '\0' ? " port " : "", ports);
        PQconninfoFree(options);
    }
    if (e != OK)
        why_set(why,
                "the URL of the database is malformed; write "
                "postgresql://USER@HOST1,HOST2:PORT/NAME, and special characters of a password "
                "as %%40 for @, %%3A for :, %%2F for /");
    return e;
}
