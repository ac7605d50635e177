/* The rows of the HTTP server: settings and metrics. */
#include "http/forms.h"
#include "http/http_private.h"

struct log_area log_http = { .name = "http" };

struct setting http_header_bytes = {
    .name = "http.header-bytes",
    .type = SET_BYTES,
    .def = 16384,
    .min = 4096,
    .max = 65536,
    .doc =
        "Names and values of all header fields of a request together; more is answered with 431.",
};
struct setting http_request_timeout = {
    .name = "http.request-timeout",
    .type = SET_MS,
    .def = 15000,
    .min = 1000,
    .max = 300000,
    .doc =
        "Time for the header of a request. Its body may take as long, and a second more for each "
        "1,000 bytes that came, but stall for no longer than this and a minute.",
};
struct setting http_idle_timeout = {
    .name = "http.idle-timeout",
    .type = SET_MS,
    .def = 75000,
    .min = 1000,
    .max = 3600000,
    .doc = "A connection between two requests is closed after this time.",
};
struct setting http_connections_max = {
    .name = "http.connections-per-address",
    .type = SET_INT,
    .def = 1000,
    .min = 1,
    .max = 1000000,
    .allow_none = true,
    .unit = "connections",
    .doc = "Connections from one address (IPv6: from one /64). Requests on further ones are "
           "answered with 429. Trusted proxies are not limited.",
};
struct setting http_requests_max = {
    .name = "http.requests-per-connection",
    .type = SET_INT,
    .def = 10000,
    .min = 1,
    .max = 1000000000,
    .allow_none = true,
    .unit = "requests",
    .doc = "After so many a connection is closed, and the client makes a new one.",
};
struct setting http_bodies_max = {
    .name = "http.bodies-max",
    .type = SET_BYTES,
    .def = 64 << 20,
    .min = 1 << 20,
    .max = 1ll << 34,
    .doc = "Bodies of all requests that are not complete yet, together; above it requests with a "
           "body are answered with 503. One address (IPv6: one /64) gets a quarter of it, or one "
           "body; trusted proxies all. Uploads of files are not gathered and do not count.",
};
struct setting http_request_rate = {
    .name = "http.request-rate",
    .type = SET_INT,
    .def = 500,
    .min = 1,
    .max = 1000000,
    .allow_none = true,
    .unit = "requests a second",
    .doc = "What one address (IPv6: one /64) may ask; what is more is answered with 429. Trusted "
           "proxies are not limited.",
};
struct setting http_cors_origins = {
    .name = "http.cors-origins",
    .type = SET_STRING,
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
    .type = SET_STRING,
    .def_text = "",
    .max = 512,
    .check = http_is_url,
    .form = HTTP_FORM_URL,
    .changed = http_proxy_setting_changed,
    .doc = "How clients reach this server over HTTP, as \"https://chat.example.org:5443\". Empty: "
           "as the request says (Host).",
};
struct setting http_hsts = {
    .name = "http.strict-transport",
    .type = SET_MS,
    .def = SETTING_NONE,
    .min = 60000,
    .max = 63072000000,
    .allow_none = true,
    .doc =
        "For how long browsers are told to use nothing but https with this host name (RFC 6797). "
        "It holds for all ports of the name.",
};
struct setting http_trusted_proxies = {
    .name = "http.trusted-proxies",
    .type = SET_STRING,
    .def_text = "",
    .max = 1024,
    .check = http_are_addresses,
    .form = HTTP_FORM_ADDRESSES,
    .changed = http_proxy_setting_changed,
    .doc =
        "Addresses in numbers, separated by commas, of reverse proxies whose X-Forwarded-For and "
        "X-Forwarded-Proto are believed.",
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
                                .help = "HTTP requests whose header was read." };
struct metric http_refused = { .name = "muster_http_refused",
                               .kind = METRIC_COUNTER,
                               .help = "HTTP requests above a limit of their address (429)." };
struct metric http_errors = { .name = "muster_http_errors",
                              .kind = METRIC_COUNTER,
                              .help = "HTTP requests answered with a status of 400 or more." };

struct metric *const http_metrics[] = { &http_conns, &http_requests, &http_refused, &http_errors,
                                        NULL };
