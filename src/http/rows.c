/* The rows of the HTTP server: settings and metrics. */
#include "http/forms.h"
#include "http/http_private.h"

struct log_area log_http = { .name = "http" };

struct setting http_header_bytes = {
    .name = "http.header-bytes",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 16384,
    .min = 4096,
    .max = 65536,
    .doc = "Maximum size of all header fields of a request. Larger headers are answered with 431.",
};
struct setting http_request_timeout = {
    .name = "http.request-timeout",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 15000,
    .min = 1000,
    .max = 300000,
    .doc = "Time limit for the header of a request. Its body may take as long, plus a second for "
           "each 1,000 received bytes, but may not stall for more than this time and a minute.",
};
struct setting http_idle_timeout = {
    .name = "http.idle-timeout",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 75000,
    .min = 1000,
    .max = 3600000,
    .doc = "A connection between two requests is closed after this time.",
};
struct setting http_connections_max = {
    .name = "http.connections-per-address",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 1000,
    .min = 1,
    .max = 1000000,
    .allow_none = true,
    .unit = "connections",
    .doc = "Connections from one address (IPv6: from one /64), whether or not they have sent "
           "anything. Requests on a few further ones are answered with 429, all others are closed "
           "at once. Trusted proxies are not limited.",
};
struct setting http_requests_max = {
    .name = "http.requests-per-connection",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 10000,
    .min = 1,
    .max = 1000000000,
    .allow_none = true,
    .unit = "requests",
    .doc = "A connection is closed after this number of requests; the client then opens a new one.",
};
struct setting http_bodies_max = {
    .name = "http.bodies-max",
    .scope = SCOPE_NODE,
    .type = PARAM_BYTES,
    .def = 64 << 20,
    .min = 1 << 20,
    .max = 1ll << 34,
    .doc = "Memory for the bodies of all incomplete requests together. Beyond it, requests with a "
           "body are answered with 503. One address (IPv6: one /64) can use a quarter of it, or "
           "one body; trusted proxies can use all. Uploads of files do not count, as they are not "
           "kept in memory.",
};
struct setting http_request_rate = {
    .name = "http.request-rate",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 500,
    .min = 1,
    .max = 1000000,
    .allow_none = true,
    .unit = "requests a second",
    .doc = "Requests of one address (IPv6: one /64). More are answered with 429. Trusted proxies "
           "are not limited.",
};
struct setting http_cors_origins = {
    .name = "http.cors-origins",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_TEXT,
    .def_text = "*",
    .max = 4096,
    .check = http_are_origins,
    .form = HTTP_FORM_ORIGINS,
    .doc =
        "Origins (\"https://chat.example.org\", separated by commas) whose scripts may use BOSH, "
        "WebSocket, host-meta and uploads from a browser; * for all.",
};
struct setting http_base = {
    .name = "http.base-url",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_TEXT,
    .def_text = "",
    .max = 512,
    .check = http_is_url,
    .form = HTTP_FORM_URL,
    .changed = http_proxy_setting_changed,
    .doc = "The address at which clients reach this server over HTTP, such as "
           "\"https://chat.example.org:5443\". Empty: the host of the request, or the domain with "
           "the port of the first HTTP listener. Set it if there is a reverse proxy.",
};
struct setting http_hsts = {
    .name = "http.strict-transport",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = SETTING_NONE,
    .min = 60000,
    .max = 63072000000,
    .allow_none = true,
    .doc = "For how long browsers may use only https with this host name (RFC 6797), on all ports.",
};
struct setting http_trusted_proxies = {
    .name = "http.trusted-proxies",
    .scope = SCOPE_NODE,
    .type = PARAM_TEXT,
    .def_text = "",
    .max = 1024,
    .check = http_are_addresses,
    .form = HTTP_FORM_ADDRESSES,
    .changed = http_proxy_setting_changed,
    .doc = "IP addresses of reverse proxies, separated by commas, whose X-Forwarded-For and "
           "X-Forwarded-Proto are trusted.",
};

struct setting *const http_settings[] = { &http_header_bytes,
                                          &http_request_timeout,
                                          &http_idle_timeout,
                                          &http_connections_max,
                                          &http_requests_max,
                                          &http_bodies_max,
                                          &http_request_rate,
                                          &http_cors_origins,
                                          &http_base,
                                          &http_hsts,
                                          &http_trusted_proxies,
                                          NULL };

struct metric http_conns = { .name = "muster_http_connections",
                             .kind = METRIC_GAUGE,
                             .help = "Open HTTP connections." };
struct metric http_requests = { .name = "muster_http_requests",
                                .kind = METRIC_COUNTER,
                                .history = true,
                                .help = "HTTP requests whose header was read." };
struct metric http_refused = { .name = "muster_http_refused",
                               .kind = METRIC_COUNTER,
                               .help = "HTTP requests above a limit of their address (429)." };
struct metric http_errors = { .name = "muster_http_errors",
                              .kind = METRIC_COUNTER,
                              .help = "HTTP requests answered with a status of 400 or more." };

struct metric *const http_metrics[] = { &http_conns, &http_requests, &http_refused, &http_errors,
                                        NULL };
