/* Requests as browsers and BOSH clients send them: nanoseconds a request and GB/s. */
#include "base/clock.h"
#include "base/ensure.h"
#include "codec/http_read.h"
#include <stdio.h>

enum { MEASURE_US = 300000 };

#define BROWSER                                                                                    \
    "Host: chat.example.test:5443\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) "                 \
    "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36\r\nAccept: */*\r\n"     \
    "Accept-Language: en-US,en;q=0.9\r\nAccept-Encoding: gzip, deflate, br\r\n"                    \
    "Connection: keep-alive\r\nOrigin: https://chat.example.test:5443\r\n"

static const struct {
    const char *name, *text;
} samples[] = {
    { "get", "GET /chat/14.0.0/converse.min.js HTTP/1.1\r\n" BROWSER "\r\n" },
    { "bosh", "POST /http-bind HTTP/1.1\r\n" BROWSER
              "Content-Type: text/xml; charset=utf-8\r\nContent-Length: 59\r\n\r\n"
              "<body xmlns='http://jabber.org/protocol/httpbind' rid='1'/>" },
    { "chunked", "PUT /upload/a/b.jpg HTTP/1.1\r\n" BROWSER "Transfer-Encoding: chunked\r\n\r\n"
                 "10\r\n0123456789abcdef\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n" },
};

static void read_one(struct http_reader *r, struct http_head *head, slice in)
{
    struct http_step step;
    enum http_read event = HTTP_READ_MORE;
    buf_clear(&head->text);
    head->target.len = head->host.len = 0;
    head->field_count = 0;
    while (event != HTTP_READ_END) {
        event = http_read(r, head, in, &step);
        ensure(event != HTTP_READ_BAD && event != HTTP_READ_MORE);
        in = slice_from(in, step.used);
    }
}

int main(void)
{
    for (unsigned i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        slice in = slice_of(samples[i].text);
        struct http_reader r;
        struct http_head head;
        uint64_t start = clock_mono_us(), took;
        double count = 0;
        http_reader_init(&r);
        http_head_init(&head, 16384);
        do {
            for (unsigned k = 0; k < 100; k++)
                read_one(&r, &head, in);
            count += 100;
            took = clock_mono_us() - start;
        } while (took < MEASURE_US);
        printf("http_%s %.0f ns\n", samples[i].name, (double)took * 1000 / count);
        printf("http_%s_rate %.2f GB/s\n", samples[i].name,
               count * (double)in.len / (double)took / 1000);
        http_head_fini(&head);
    }
    return 0;
}
