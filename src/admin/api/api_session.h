/* api_session: rows of the resources that open, show and end a session of the console, for the
 * document (admin/api/api_openapi.c). */
#pragma once
#include "http/server.h"

struct command;
struct feature;

#define API_COOKIE "__Host-muster"

struct api_session_row {
    enum http_verb method; /* 0: the end */
    const char *path;
    unsigned status; /* where all went well */
    bool open;       /* to all */
    enum { API_SAYS_NOTHING, API_SAYS_SESSION, API_SAYS_BANNER, API_SAYS_FACTOR } says;
    const struct command *row; /* its arguments are the members of the body */
};
extern const struct api_session_row api_session_rows[];

extern const struct feature api_session_feature;
