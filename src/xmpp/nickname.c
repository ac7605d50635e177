#include "xmpp/nickname.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "xmpp/precis.h"
#include <pthread.h>
#include <unicode/uspoof.h>

enum {
    ROUNDS_MAX = 4, /* until a skeleton stays as it is: two do for nearly all */
    LOOKS_MAX = 3,
};

/* Forms of the ASCII characters that do not just become lower case. The test compares it with
 * ICU's table. */
static const char looks[128][LOOKS_MAX + 1] = {
    ['"'] = "''", ['%'] = "o/o", ['0'] = "o",  ['1'] = "l", ['I'] = "l",
    ['M'] = "rn", ['`'] = "'",   ['m'] = "rn", ['|'] = "l",
};

static struct {
    pthread_once_t once;
    USpoofChecker *checker; /* read-only: any thread uses it */
} spoof = { .once = PTHREAD_ONCE_INIT };

static void spoof_open(void)
{
    UErrorCode status = U_ZERO_ERROR;
    spoof.checker = uspoof_open(&status);
    ensure(U_SUCCESS(status));
}

static bool nickname_is_plain(slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < 0x20 || text.ptr[i] > 0x7e)
            return false;
    return true;
}

static char nickname_lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c; }

/* Whether the space at `at` stands at an end or behind another. */
static bool needless(slice text, size_t at)
{
    return text.ptr[at] == ' ' && (at == 0 || at + 1 == text.len || text.ptr[at - 1] == ' ');
}

static slice nickname_trimmed(slice text, struct arena *tmp)
{
    size_t len = 0;
    while (len < text.len && !needless(text, len))
        len++;
    if (len == text.len)
        return text;
    char *out = arena_alloc_raw(tmp, text.len);
    memcpy(out, text.ptr, len);
    for (size_t i = len; i < text.len; i++)
        if (text.ptr[i] != ' ' || (len > 0 && out[len - 1] != ' '))
            out[len++] = text.ptr[i];
    if (len > 0 && out[len - 1] == ' ')
        len--;
    return (slice){ out, len };
}

enum err nickname_enforce_within(slice text, size_t most, struct arena *tmp, slice *out)
{
    if (most > PRECIS_OUTPUT_MAX)
        most = PRECIS_OUTPUT_MAX;
    if (!nickname_is_plain(text))
        return precis_nickname(text, most, tmp, out);
    *out = nickname_trimmed(text, tmp);
    return out->len > 0 && out->len <= most ? OK : E_SYNTAX;
}

enum err nickname_enforce(slice text, struct arena *tmp, slice *out)
{
    return nickname_enforce_within(text, PRECIS_OUTPUT_MAX, tmp, out);
}

slice nickname_key(slice nickname, struct arena *tmp)
{
    slice key;
    if (!nickname_is_plain(nickname))
        return precis_nickname_key(nickname, tmp, &key) == OK ? key : nickname;
    char *out = arena_alloc_raw(tmp, nickname.len + 1);
    for (size_t i = 0; i < nickname.len; i++)
        out[i] = nickname_lower(nickname.ptr[i]);
    return (slice){ out, nickname.len };
}

static enum err plain_skeleton(slice text, struct arena *tmp, slice *out)
{
    char *room = arena_alloc_raw(tmp, text.len * LOOKS_MAX + 1);
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        const char *as = looks[(unsigned char)text.ptr[i]];
        if (*as == 0)
            room[len++] = nickname_lower(text.ptr[i]);
        while (*as != 0)
            room[len++] = *as++;
    }
    *out = (slice){ room, len };
    return len <= PRECIS_OUTPUT_MAX ? OK : E_LIMIT;
}

/* One step: characters become those that they look like, then lower case. In the other order a
 * capital I would never meet the l. */
static enum err nickname_step(slice text, struct arena *tmp, slice *out)
{
    char *room = arena_alloc_raw(tmp, PRECIS_INPUT_MAX);
    UErrorCode status = U_ZERO_ERROR;
    int32_t len = uspoof_getSkeletonUTF8(spoof.checker, 0, text.ptr, (int32_t)text.len, room,
                                         PRECIS_INPUT_MAX, &status);
    if (U_FAILURE(status) || len > PRECIS_INPUT_MAX)
        return E_LIMIT;
    return precis_fold((slice){ room, (size_t)len }, tmp, out);
}

static enum err spoof_skeleton(slice text, struct arena *tmp, slice *out)
{
    pthread_once(&spoof.once, spoof_open);
    slice before = text;
    enum err e = nickname_step(text, tmp, out);
    for (int i = 1; e == OK && i < ROUNDS_MAX && !slice_eq(*out, before); i++) {
        before = *out;
        e = nickname_step(before, tmp, out);
    }
    return e;
}

slice nickname_skeleton(slice nickname, struct arena *tmp)
{
    slice out;
    enum err e = nickname_is_plain(nickname) ? plain_skeleton(nickname, tmp, &out)
                                             : spoof_skeleton(nickname, tmp, &out);
    return e == OK ? out : nickname_key(nickname, tmp);
}
