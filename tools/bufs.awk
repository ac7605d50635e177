# bufs.awk: buffers have maxima with names, and nothing is taken from one that overflowed: a function
# that initialises a local buffer and takes its text with buf_slice() looks at `overflow`, or takes
# it with buf_fit(); for a buffer that is a member, some function of the file does. Values get into
# XML by codec/xml_write: outside it, no literal that buf_lit, buf_printf, buf_add or arena_printf gets
# holds a part of an element; xml_raw, PUT_LIT and conn_write are not looked at. A comment that ends with
# "escaped" on the line says that a value is XML already, one with "fits" that the text cannot reach
# the maximum.
function finish(    name) {
    for (name in taken)
        if (!(name in looked))
            print file ":" taken[name] ": " name " may have overflowed: look at it, or use buf_fit()"
    delete begun; delete taken; delete looked
}
function finish_file(    name) {
    for (name in member_taken)
        if (name in member_begun && !(name in member_looked))
            print file ":" member_taken[name] ": " name " may have overflowed: look at it, or use buf_fit()"
    delete member_begun; delete member_taken; delete member_looked
}
# A literal with a start tag that it does not end, or an end tag that it did not begin.
function is_part(text,    was) {
    gsub(/\\"/, "'", text)
    gsub(/%%/, "", text)
    if (text ~ /<[a-z][a-zA-Z:-]*[^<>]*%[-.*0-9a-z]+[^<>]*>|<[a-z][^<>]*>[^<]*%[-.*0-9]*s/)
        return 1
    do {
        was = text
        gsub(/<[a-z][a-zA-Z:-]*( [^<>]*)?\/>/, "", text)
        gsub(/<[a-z][a-zA-Z:-]*( [^<>]*)?>[^<>]*<\/[a-z][a-zA-Z:-]*>/, "", text)
    } while (text != was)
    return text ~ /<\/?[a-z][a-zA-Z:-]*([ >\/]|$)/
}
FNR == 1 { finish(); finish_file(); file = FILENAME; call = "" }
/^}/ { finish() }
{
    line = $0
    sub(/\/\*.*\*\//, "", line)
    if (match(line, /(buf_init|xml_begin)\(.*,[^,]*\);/)) {
        max = line; sub(/.*,/, "", max)
        if (max ~ /[^A-Za-z_0-9][0-9]/ && max !~ /SIZE_MAX/ && max !~ /_(max|MAX) \+ 1\);/)
            print FILENAME ":" FNR ": a maximum without a name: see codec/xml_write.h"
        name = line
        if (name ~ /xml_begin/) { sub(/.*xml_begin\([^,]*, */, "", name) } else sub(/.*buf_init\(/, "", name)
        sub(/,.*/, "", name)
        if (name ~ /^&[a-z_0-9]+$/) begun[substr(name, 2)] = 1
        else if (name ~ /(->|\.)[a-z_0-9]+$/) { sub(/.*(->|\.)/, "", name); member_begun[name] = 1 }
    }
    rest = $0 ~ /fits[^*]*\*\// ? "" : line
    while (match(rest, /buf_slice\(&[a-z_0-9>.-]+\)/)) {
        name = substr(rest, RSTART + 11, RLENGTH - 12)
        if (name in begun) taken[name] = FNR
        else if (sub(/.*(->|\.)/, "", name)) member_taken[name] = FNR
        rest = substr(rest, RSTART + RLENGTH)
    }
    rest = line
    while (match(rest, /[a-z_0-9]+\.overflow|buf_fit\(&[a-z_0-9>.-]+\)/)) {
        name = substr(rest, RSTART, RLENGTH)
        sub(/\.overflow|\)$/, "", name); sub(/buf_fit\(&/, "", name); sub(/.*(->|\.)/, "", name)
        looked[name] = member_looked[name] = 1
        rest = substr(rest, RSTART + RLENGTH)
    }
    if (FILENAME ~ /register_page|docs_xeps|\/codec\// || $0 ~ /escaped \*\// || line ~ /claim\(|SLICE_INIT|log_|LOG_/)
        next
    if (line ~ /</ && line ~ /='",|='"\)|='%[-.*0-9]*s|>%[-.*0-9]*s|=\\"%[-.*0-9]*s|=\\"",|=\\""\)/) {
        print FILENAME ":" FNR ": XML with a value is written by codec/xml_write.h"
        next
    }
    # a call may go over several lines, and a literal may have the name of a namespace inside
    call = call line
    if (line !~ /[;{}][ \t]*$/ && length(call) < 4000)
        next
    rest = call
    call = ""
    gsub(/slice_starts\([^()]*(\([^()]*\))?[^()]*\)/, "", rest)
    gsub(/"[ \t]*[A-Z][A-Z_0-9]*[ \t]*"|"[ \t]*"/, "", rest)
    while (rest ~ /buf_(lit|printf|add)\(|arena_printf/ && match(rest, /"([^"\\]|\\.)*"/)) {
        if (is_part(substr(rest, RSTART + 1, RLENGTH - 2))) {
            print FILENAME ":" FNR ": a part of an element: XML is written by codec/xml_write.h"
            break
        }
        rest = substr(rest, RSTART + RLENGTH)
    }
}
END { finish(); finish_file() }
