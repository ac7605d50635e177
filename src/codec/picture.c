#include "codec/picture.h"
#include <string.h>

enum {
    PNG_HEAD =
        24, /* signature, and the chunk IHDR as far as width and height (PNG §5.2, §11.2.2) */
    GIF_HEAD = 10, /* signature, and the logical screen as far as its height (GIF89a §17, §18) */
    JPEG_FRAME = 9 /* marker, length, precision, height and width (ITU-T T.81 §B.2.2) */
};

static uint32_t picture_byte(slice s, size_t i) { return (unsigned char)s.ptr[i]; }

static uint32_t big16(slice s, size_t i)
{
    return picture_byte(s, i) << 8 | picture_byte(s, i + 1);
}

static bool begins(slice s, const char *with, size_t len)
{
    return s.len >= len && memcmp(s.ptr, with, len) == 0;
}

/* A frame: SOF0 to SOF15, among which are three other markers (T.81 table B.1). */
static bool is_frame(uint32_t marker)
{
    return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

/* Segments follow one another, each with its length, until the frame. */
static bool read_jpeg(struct picture *out, slice s)
{
    size_t at = 2;
    while (s.len - at >= JPEG_FRAME && picture_byte(s, at) == 0xff) {
        uint32_t marker = picture_byte(s, at + 1);
        if (is_frame(marker)) {
            *out = (struct picture){ "image/jpeg", big16(s, at + 7), big16(s, at + 5) };
            return true;
        }
        /* Bytes that fill come before a marker (§B.1.1.2). */
        size_t step = marker == 0xff ? 1 : 2 + big16(s, at + 2);
        if (step > s.len - at)
            return false;
        at += step;
    }
    return false;
}

bool picture_read(struct picture *out, slice bytes)
{
    if (begins(bytes, "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16) && bytes.len >= PNG_HEAD) {
        *out = (struct picture){ "image/png", big16(bytes, 16) << 16 | big16(bytes, 18),
                                 big16(bytes, 20) << 16 | big16(bytes, 22) };
        return true;
    }
    if ((begins(bytes, "GIF87a", 6) || begins(bytes, "GIF89a", 6)) && bytes.len >= GIF_HEAD) {
        *out = (struct picture){ "image/gif", picture_byte(bytes, 7) << 8 | picture_byte(bytes, 6),
                                 picture_byte(bytes, 9) << 8 | picture_byte(bytes, 8) };
        return true;
    }
    return begins(bytes, "\xff\xd8", 2) && read_jpeg(out, bytes);
}
