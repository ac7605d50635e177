#include "xmpp/precis.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/utf8.h"
#include <pthread.h>
#include <unicode/uchar.h>
#include <unicode/uidna.h>
#include <unicode/unorm2.h>
#include <unicode/uscript.h>
#include <unicode/usprep.h>
#include <unicode/ustring.h>

enum {
    UNITS_MAX = PRECIS_INPUT_MAX,
    ROUNDS_MAX = 4,   /* RFC 8264 §7: text that does not settle by then is refused */
    LABEL_MAX = 63,   /* characters: an A-label has one or more for each, RFC 1035 §2.3.4 */
    COMPOSED_MAX = 4, /* characters that normalisation makes one */
    CCC_VIRAMA = 9,
};

static struct {
    pthread_once_t once;
    const UNormalizer2 *nfc, *nfkc, *fold;
    UIDNA *idna;
    UStringPrepProfile *saslprep;
} icu = { .once = PTHREAD_ONCE_INIT };

static void icu_open(void)
{
    UErrorCode status = U_ZERO_ERROR;
    icu.nfc = unorm2_getNFCInstance(&status);
    icu.nfkc = unorm2_getNFKCInstance(&status);
    icu.fold = unorm2_getNFKCCasefoldInstance(&status);
    icu.idna = uidna_openUTS46(UIDNA_USE_STD3_RULES | UIDNA_CHECK_BIDI | UIDNA_CHECK_CONTEXTJ |
                                   UIDNA_CHECK_CONTEXTO | UIDNA_NONTRANSITIONAL_TO_ASCII |
                                   UIDNA_NONTRANSITIONAL_TO_UNICODE,
                               &status);
    icu.saslprep = usprep_openByType(USPREP_RFC4013_SASLPREP, &status);
    ensure(U_SUCCESS(status));
}

/* UTF-16, as ICU wants it. */
struct text {
    int32_t len; /* units */
    UChar at[UNITS_MAX];
};

static enum err text_read(struct text *t, slice utf8)
{
    if (utf8.len == 0 || utf8.len > PRECIS_INPUT_MAX || !utf8_valid(utf8))
        return E_SYNTAX;
    UErrorCode status = U_ZERO_ERROR;
    u_strFromUTF8(t->at, UNITS_MAX, &t->len, utf8.ptr, (int32_t)utf8.len, &status);
    return U_FAILURE(status) ? E_SYNTAX : OK;
}

static enum err text_write(const struct text *t, size_t most, struct arena *tmp, slice *out)
{
    char *room = arena_alloc(tmp, 1, PRECIS_OUTPUT_MAX + 1);
    int32_t len = 0;
    UErrorCode status = U_ZERO_ERROR;
    u_strToUTF8(room, PRECIS_OUTPUT_MAX, &len, t->at, t->len, &status);
    if (U_FAILURE(status) || len == 0 || (size_t)len > most)
        return E_SYNTAX;
    *out = (slice){ room, (size_t)len };
    return OK;
}

/* The character at unit *i, and past it. Text is well-formed: it comes of UTF-8. */
static UChar32 text_next(const struct text *t, int32_t *i)
{
    uint32_t unit = t->at[(*i)++];
    if ((unit & 0xfc00) == 0xd800 && *i < t->len)
        unit = 0x10000 + ((unit & 0x3ff) << 10) + (t->at[(*i)++] & 0x3ffU);
    return (UChar32)unit;
}

/* The character before unit *i, and to its start. */
static UChar32 text_prev(const struct text *t, int32_t *i)
{
    uint32_t unit = t->at[--*i];
    if ((unit & 0xfc00) == 0xdc00 && *i > 0)
        unit = 0x10000 + ((t->at[--*i] & 0x3ffU) << 10) + (unit & 0x3ff);
    return (UChar32)unit;
}

static bool text_equal(const struct text *a, const struct text *b)
{
    return a->len == b->len && u_memcmp(a->at, b->at, a->len) == 0;
}

/* --- classes of RFC 8264 §8 and §9 --- */

enum property { DISALLOWED, FREE_ONLY, PVALID, CONTEXT };

/* RFC 5892 §2.6, RFC 8264 §9.6 */
static const struct {
    UChar32 first, last;
    enum property property;
} exceptions[] = {
    { 0x00b7, 0x00b7, CONTEXT },    { 0x00df, 0x00df, PVALID },     { 0x0375, 0x0375, CONTEXT },
    { 0x03c2, 0x03c2, PVALID },     { 0x05f3, 0x05f4, CONTEXT },    { 0x0640, 0x0640, DISALLOWED },
    { 0x0660, 0x0669, CONTEXT },    { 0x06f0, 0x06f9, CONTEXT },    { 0x06fd, 0x06fe, PVALID },
    { 0x07fa, 0x07fa, DISALLOWED }, { 0x0f0b, 0x0f0b, PVALID },     { 0x200c, 0x200d, CONTEXT },
    { 0x3007, 0x3007, PVALID },     { 0x302e, 0x302f, DISALLOWED }, { 0x3031, 0x3035, DISALLOWED },
    { 0x303b, 0x303b, DISALLOWED }, { 0x30fb, 0x30fb, CONTEXT },
};

static bool is_old_hangul_jamo(UChar32 cp)
{
    int32_t type = u_getIntPropertyValue(cp, UCHAR_HANGUL_SYLLABLE_TYPE);
    return type == U_HST_LEADING_JAMO || type == U_HST_VOWEL_JAMO || type == U_HST_TRAILING_JAMO;
}

static enum property property_of(UChar32 cp)
{
    if (cp >= 0x21 && cp <= 0x7e)
        return PVALID;
    for (size_t i = 0; i < sizeof exceptions / sizeof exceptions[0]; i++)
        if (cp >= exceptions[i].first && cp <= exceptions[i].last)
            return exceptions[i].property;
    uint32_t category = U_GET_GC_MASK(cp);
    if ((category & (U_GC_CN_MASK | U_GC_CC_MASK)) != 0 || is_old_hangul_jamo(cp) ||
        u_hasBinaryProperty(cp, UCHAR_DEFAULT_IGNORABLE_CODE_POINT))
        return DISALLOWED; /* unassigned (and noncharacters), controls, jamo, ignorable */
    if (u_getIntPropertyValue(cp, UCHAR_NFKC_QUICK_CHECK) == UNORM_NO)
        return FREE_ONLY; /* HasCompat, §9.17 */
    if ((category & (U_GC_LL_MASK | U_GC_LU_MASK | U_GC_LO_MASK | U_GC_ND_MASK | U_GC_LM_MASK |
                     U_GC_MN_MASK | U_GC_MC_MASK)) != 0)
        return PVALID; /* LetterDigits, §9.1 */
    if ((category & (U_GC_LT_MASK | U_GC_NL_MASK | U_GC_NO_MASK | U_GC_ME_MASK | U_GC_ZS_MASK |
                     U_GC_S_MASK | U_GC_P_MASK)) != 0)
        return FREE_ONLY; /* other letters and digits, spaces, symbols, punctuation */
    return DISALLOWED;
}

/* --- contextual rules, RFC 5892 Appendix A --- */

static UScriptCode script_of(UChar32 cp)
{
    UErrorCode status = U_ZERO_ERROR;
    return uscript_getScript(cp, &status);
}

/* The nearest character before (step -1) or behind (+1) unit `at` that joining looks through not.
 */
static int32_t joining_beside(const struct text *t, int32_t at, int step)
{
    int32_t i = at;
    for (;;) {
        if (step < 0 ? i <= 0 : i >= t->len)
            return U_JT_NON_JOINING;
        UChar32 cp = step < 0 ? text_prev(t, &i) : text_next(t, &i);
        int32_t type = u_getIntPropertyValue(cp, UCHAR_JOINING_TYPE);
        if (type != U_JT_TRANSPARENT)
            return type;
    }
}

static bool any_script(const struct text *t, UScriptCode a, UScriptCode b, UScriptCode c)
{
    for (int32_t i = 0; i < t->len;) {
        UChar32 cp = text_next(t, &i);
        UScriptCode script = script_of(cp);
        if (script == a || script == b || script == c)
            return true;
    }
    return false;
}

static bool any_between(const struct text *t, UChar first, UChar last)
{
    for (int32_t i = 0; i < t->len; i++)
        if (t->at[i] >= first && t->at[i] <= last)
            return true;
    return false;
}

/* Whether the characters around units start..end would be joined but for it. */
static bool breaks_joining(const struct text *t, int32_t start, int32_t end)
{
    int32_t left = joining_beside(t, start, -1), right = joining_beside(t, end, +1);
    return (left == U_JT_LEFT_JOINING || left == U_JT_DUAL_JOINING) &&
           (right == U_JT_RIGHT_JOINING || right == U_JT_DUAL_JOINING);
}

/* Whether the CONTEXT character `cp` of units start..end may stand there. */
static bool context_allows(const struct text *t, int32_t start, int32_t end, UChar32 cp)
{
    bool joins = cp == 0x200c && breaks_joining(t, start, end);
    UChar32 before = start > 0 ? text_prev(t, &start) : 0; /* 0: none */
    UChar32 behind = end < t->len ? text_next(t, &end) : 0;
    if (cp == 0x200c) /* A.1 ZERO WIDTH NON-JOINER: behind a virama, or in a cursive connection */
        return u_getCombiningClass(before) == CCC_VIRAMA || joins;
    if (cp == 0x200d) /* A.2 ZERO WIDTH JOINER */
        return u_getCombiningClass(before) == CCC_VIRAMA;
    if (cp == 0x00b7) /* A.3 MIDDLE DOT */
        return before == 'l' && behind == 'l';
    if (cp == 0x0375) /* A.4 GREEK LOWER NUMERAL SIGN */
        return script_of(behind) == USCRIPT_GREEK;
    if (cp == 0x05f3 || cp == 0x05f4) /* A.5, A.6 HEBREW PUNCTUATION */
        return script_of(before) == USCRIPT_HEBREW;
    return true; /* A.7 to A.9: whole_allows() */
}

/* The rules that depend on characters anywhere in the text. They are checked once for the text, not
 * for each character: a long text may consist of such characters. */
static bool whole_allows(const struct text *t)
{
    if (any_between(t, 0x30fb, 0x30fb) && /* A.7 KATAKANA MIDDLE DOT */
        !any_script(t, USCRIPT_HIRAGANA, USCRIPT_KATAKANA, USCRIPT_HAN))
        return false;
    /* A.8 ARABIC-INDIC DIGITS, A.9 EXTENDED ARABIC-INDIC DIGITS: not both */
    return !any_between(t, 0x0660, 0x0669) || !any_between(t, 0x06f0, 0x06f9);
}

/* Every character is at least `least` (FREE_ONLY: FreeformClass; PVALID: IdentifierClass). */
static bool class_allows(const struct text *t, enum property least)
{
    for (int32_t i = 0; i < t->len;) {
        int32_t start = i;
        UChar32 cp = text_next(t, &i);
        enum property p = cp == ' ' ? FREE_ONLY : property_of(cp);
        if (p < least || (p == CONTEXT && !context_allows(t, start, i, cp)))
            return false;
    }
    return whole_allows(t);
}

/* --- the Bidi Rule, RFC 5893 §2 --- */

#define BIDI(name) (1U << (U_##name))
static const uint32_t bidi_rtl =
    BIDI(RIGHT_TO_LEFT) | BIDI(RIGHT_TO_LEFT_ARABIC) | BIDI(ARABIC_NUMBER);
static const uint32_t bidi_neutral = BIDI(EUROPEAN_NUMBER) | BIDI(EUROPEAN_NUMBER_SEPARATOR) |
                                     BIDI(COMMON_NUMBER_SEPARATOR) |
                                     BIDI(EUROPEAN_NUMBER_TERMINATOR) | BIDI(OTHER_NEUTRAL) |
                                     BIDI(BOUNDARY_NEUTRAL) | BIDI(DIR_NON_SPACING_MARK);

static bool bidi_allows(const struct text *t)
{
    uint32_t first = 0, last = 0, all = 0; /* classes; `last` looks through non-spacing marks */
    for (int32_t i = 0; i < t->len;) {
        UChar32 cp = text_next(t, &i);
        uint32_t class = 1U << u_charDirection(cp);
        first = all == 0 ? class : first;
        all |= class;
        last = class == BIDI(DIR_NON_SPACING_MARK) ? last : class;
    }
    if ((all & bidi_rtl) == 0)
        return true; /* RFC 8265 §3.3.2: the rule is for text with right-to-left characters */
    /* rules 1 and 5: such text must begin with one; then rules 2, 3 and 4 */
    bool starts = (first & (BIDI(RIGHT_TO_LEFT) | BIDI(RIGHT_TO_LEFT_ARABIC))) != 0;
    bool ends = (last & (bidi_rtl | BIDI(EUROPEAN_NUMBER))) != 0;
    uint32_t both = BIDI(EUROPEAN_NUMBER) | BIDI(ARABIC_NUMBER);
    return starts && ends && (all & ~(bidi_rtl | bidi_neutral)) == 0 && (all & both) != both;
}

/* --- mappings --- */

/* Fullwidth and halfwidth characters to their ordinary forms, RFC 8265 §3.3.1. */
static void map_width(struct text *out, const struct text *in)
{
    out->len = 0;
    for (int32_t i = 0; i < in->len;) {
        int32_t start = i, units = 0;
        int32_t type = u_getIntPropertyValue(text_next(in, &i), UCHAR_DECOMPOSITION_TYPE);
        if (type == U_DT_WIDE ||
            type == U_DT_NARROW) { /* all of one unit, and so is their mapping */
            UErrorCode status = U_ZERO_ERROR;
            units = unorm2_getRawDecomposition(icu.nfkc, in->at[start], out->at + out->len,
                                               UNITS_MAX - out->len, &status);
            ensure(U_SUCCESS(status) && units == 1);
        } else {
            units = i - start;
            u_memcpy(out->at + out->len, in->at + start, units);
        }
        out->len += units;
    }
}

/* Spaces other than U+0020 to U+0020, RFC 8265 §4.2.2. */
static void map_spaces(struct text *t)
{
    for (int32_t i = 0; i < t->len; i++) /* all Zs are in the BMP */
        if (U_GET_GC_MASK(t->at[i]) == U_GC_ZS_MASK)
            t->at[i] = ' ';
}

static enum err map_lower(struct text *out, const struct text *in)
{
    UErrorCode status = U_ZERO_ERROR;
    out->len = u_strToLower(out->at, UNITS_MAX, in->at, in->len, "", &status);
    return U_FAILURE(status) ? E_SYNTAX : OK;
}

static enum err normalize(struct text *out, const struct text *in, const UNormalizer2 *form)
{
    UErrorCode status = U_ZERO_ERROR;
    out->len = unorm2_normalize(form, in->at, in->len, out->at, UNITS_MAX, &status);
    return U_FAILURE(status) ? E_SYNTAX : OK;
}

/* Spaces at both ends go, several between are one, RFC 8266 §2.1. */
static void trim_spaces(struct text *t)
{
    int32_t len = 0;
    for (int32_t i = 0; i < t->len; i++)
        if (t->at[i] != ' ' || (len > 0 && t->at[len - 1] != ' '))
            t->at[len++] = t->at[i];
    t->len = len > 0 && t->at[len - 1] == ' ' ? len - 1 : len;
}

/* UsernameCaseMapped, RFC 8265 §3.3.3; `spare` is working space, as in opaque_round(). */
static enum err username_round(struct text *t, struct text *spare)
{
    map_width(spare, t);
    if (!class_allows(spare, PVALID) || map_lower(t, spare) != OK ||
        normalize(spare, t, icu.nfc) != OK)
        return E_SYNTAX;
    *t = *spare;
    return bidi_allows(t) ? OK : E_SYNTAX;
}

/* OpaqueString, RFC 8265 §4.2.3 */
static enum err opaque_round(struct text *t, struct text *spare)
{
    if (!class_allows(t, FREE_ONLY))
        return E_SYNTAX;
    map_spaces(t);
    if (normalize(spare, t, icu.nfc) != OK)
        return E_SYNTAX;
    *t = *spare;
    return OK;
}

/* Nickname, RFC 8266 §2.1: enforcement */
static enum err nickname_round(struct text *t, struct text *spare)
{
    if (!class_allows(t, FREE_ONLY))
        return E_SYNTAX;
    map_spaces(t);
    trim_spaces(t);
    if (normalize(spare, t, icu.nfkc) != OK)
        return E_SYNTAX;
    *t = *spare;
    return OK;
}

/* Nickname, RFC 8266 §2.4: comparison */
static enum err nickname_key_round(struct text *t, struct text *spare)
{
    if (!class_allows(t, FREE_ONLY))
        return E_SYNTAX;
    map_spaces(t);
    trim_spaces(t);
    return map_lower(spare, t) == OK ? normalize(t, spare, icu.nfkc) : E_SYNTAX;
}

struct workspace {
    struct text now, before, spare;
};

/* Text that a round has made too long is given up: one character may become 18. */
static enum err enforce(struct workspace *w, enum err (*round)(struct text *, struct text *),
                        size_t most)
{
    for (int i = 0; i < ROUNDS_MAX; i++) {
        w->before = w->now;
        enum err e = round(&w->now, &w->spare);
        if (e == OK && (size_t)w->now.len > most) /* a unit is one byte or more */
            return E_SYNTAX;
        if (e != OK || text_equal(&w->now, &w->before))
            return e;
    }
    return E_SYNTAX;
}

static enum err precis_prepare(slice text, enum err (*round)(struct text *, struct text *),
                               size_t most, struct arena *tmp, slice *out)
{
    struct workspace w;
    pthread_once(&icu.once, icu_open);
    enum err e = text_read(&w.now, text);
    if (e == OK)
        e = enforce(&w, round, most);
    if (e == OK)
        e = text_write(&w.now, most, tmp, out);
    mem_wipe(&w, sizeof w); /* it may have been a password */
    return e;
}

enum err precis_username(slice text, struct arena *tmp, slice *out)
{
    return precis_prepare(text, username_round, PRECIS_OUTPUT_MAX, tmp, out);
}

enum err precis_fold(slice text, struct arena *tmp, slice *out)
{
    struct text in, folded;
    UErrorCode status = U_ZERO_ERROR;
    pthread_once(&icu.once, icu_open);
    enum err e = text_read(&in, text);
    if (e != OK)
        return e;
    folded.len = unorm2_normalize(icu.fold, in.at, in.len, folded.at, UNITS_MAX, &status);
    return U_FAILURE(status) ? E_SYNTAX : text_write(&folded, PRECIS_OUTPUT_MAX, tmp, out);
}

enum err precis_opaque(slice text, struct arena *tmp, slice *out)
{
    return precis_prepare(text, opaque_round, PRECIS_OUTPUT_MAX, tmp, out);
}

/* Characters that are unassigned in Unicode 3.2 pass, as RFC 4013 §2.5 has it for queries. */
enum err precis_saslprep(slice text, struct arena *tmp, slice *out)
{
    struct workspace w;
    UErrorCode status = U_ZERO_ERROR;
    pthread_once(&icu.once, icu_open);
    enum err e = text_read(&w.before, text);
    if (e == OK) {
        w.now.len = usprep_prepare(icu.saslprep, w.before.at, w.before.len, w.now.at, UNITS_MAX,
                                   USPREP_ALLOW_UNASSIGNED, NULL, &status);
        e = U_FAILURE(status) ? E_SYNTAX : text_write(&w.now, PRECIS_OUTPUT_MAX, tmp, out);
    }
    mem_wipe(&w, sizeof w);
    return e;
}

const char *precis_opaque_problem(slice text, struct arena *tmp)
{
    struct text t;
    const char *found = NULL;
    char name[80] = "";
    UErrorCode status = U_ZERO_ERROR;
    if (text.len == 0 || text.len > PRECIS_OUTPUT_MAX)
        return arena_printf(tmp, "has %zu bytes; it can have 1 to %d", text.len, PRECIS_OUTPUT_MAX);
    if (text_read(&t, text) != OK)
        return "is not UTF-8";
    for (int32_t i = 0; i < t.len && found == NULL;) {
        int32_t start = i;
        UChar32 cp = text_next(&t, &i);
        enum property p = cp == ' ' ? FREE_ONLY : property_of(cp);
        if (p != DISALLOWED && (p != CONTEXT || context_allows(&t, start, i, cp)))
            continue;
        u_charName(cp, U_EXTENDED_CHAR_NAME, name, sizeof name, &status);
        found = arena_printf(tmp,
                             "has the character U+%04X %s, which a password cannot have here "
                             "(RFC 8265)",
                             (unsigned)cp, name);
    }
    mem_wipe(&t, sizeof t);
    return found != NULL ? found : "has characters that cannot stand together (RFC 8264)";
}

enum err precis_nickname(slice text, size_t most, struct arena *tmp, slice *out)
{
    return precis_prepare(text, nickname_round, most, tmp, out);
}

enum err precis_nickname_key(slice text, struct arena *tmp, slice *out)
{
    return precis_prepare(text, nickname_key_round, PRECIS_OUTPUT_MAX, tmp, out);
}

/* Characters that UTS 46 allows but IDNA2008 does not, mostly symbols; dots are separators. */
static bool idna2008_allows(const struct text *t)
{
    for (int32_t i = 0; i < t->len;) {
        UChar32 cp = text_next(t, &i);
        if (cp >= 0x80 && property_of(cp) < PVALID)
            return false;
    }
    return true;
}

static bool is_label_end(UChar32 cp)
{
    return cp == '.' || cp == 0x3002 || cp == 0xff0e || cp == 0xff61;
}

/* Whether each label may fit the DNS after normalisation. ICU finds labels that are too long only
 * at the end, and its work grows with the square of their length. */
static bool labels_may_fit(const struct text *t)
{
    int32_t all = 0, kept = 0; /* characters of a label; those that are not joined to another */
    for (int32_t i = 0; i < t->len && all <= LABEL_MAX * COMPOSED_MAX && kept <= LABEL_MAX;) {
        UChar32 cp = text_next(t, &i);
        all = is_label_end(cp) ? 0 : all + 1;
        kept = is_label_end(cp) ? 0 : kept + unorm2_hasBoundaryBefore(icu.fold, cp);
    }
    return all <= LABEL_MAX * COMPOSED_MAX && kept <= LABEL_MAX;
}

static enum err precis_domain_forms(slice text, struct text *unicode, struct text *ascii)
{
    struct text in;
    pthread_once(&icu.once, icu_open);
    if (text_read(&in, text) != OK || !labels_may_fit(&in))
        return E_SYNTAX;
    /* RFC 5891 forbids hyphens in the 3rd and 4th place, but the DNS has such names */
    const uint32_t tolerated = UIDNA_ERROR_HYPHEN_3_4;
    UErrorCode status = U_ZERO_ERROR;
    UIDNAInfo info = UIDNA_INFO_INITIALIZER;
    unicode->len =
        uidna_nameToUnicode(icu.idna, in.at, in.len, unicode->at, UNITS_MAX, &info, &status);
    if (U_FAILURE(status) || (info.errors & ~tolerated) != 0 || !idna2008_allows(unicode))
        return E_SYNTAX;
    /* Converting back finds errors that only show there: labels that are too long for the DNS. The
     * total may be longer than the DNS allows: RFC 7622 §3.2 limits it to 1,023 bytes and no
     * further. */
    info = (UIDNAInfo)UIDNA_INFO_INITIALIZER;
    ascii->len = uidna_nameToASCII(icu.idna, unicode->at, unicode->len, ascii->at, UNITS_MAX, &info,
                                   &status);
    uint32_t allowed = tolerated | UIDNA_ERROR_DOMAIN_NAME_TOO_LONG;
    return U_FAILURE(status) || (info.errors & ~allowed) != 0 ? E_SYNTAX : OK;
}

enum err precis_domain(slice text, struct arena *tmp, slice *out)
{
    struct text unicode, ascii;
    enum err e = precis_domain_forms(text, &unicode, &ascii);
    return e == OK ? text_write(&unicode, PRECIS_OUTPUT_MAX, tmp, out) : e;
}

enum err precis_domain_ascii(slice text, struct arena *tmp, slice *out)
{
    struct text unicode, ascii;
    enum err e = precis_domain_forms(text, &unicode, &ascii);
    return e == OK ? text_write(&ascii, PRECIS_OUTPUT_MAX, tmp, out) : e;
}
