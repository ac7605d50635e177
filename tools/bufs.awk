# bufs.awk: buffers in the upper half have maxima with names, and nothing is taken from one that
# overflowed: a function that initialises a local buffer and takes its text with buf_slice() looks at
# `overflow`, or takes it with buf_fit(). Values get into XML by codec/xml_write; a comment that ends
# with "escaped" on the line says that a value is XML already.
function finish(    name) {
    for (name in taken)
        if (!(name in looked))
            print file ":" taken[name] ": " name " may have overflowed: look at it, or use buf_fit()"
    delete begun; delete taken; delete looked
}
FNR == 1 { finish(); file = FILENAME }
/^}/ { finish() }
{
    line = $0
    sub(/\/\*.*\*\//, "", line)
    if (match(line, /(buf_init|xml_begin)\(.*,[^,]*\);/)) {
        max = line; sub(/.*,/, "", max)
        if (max ~ /[^A-Za-z_0-9][0-9]/ && max !~ /SIZE_MAX/)
            print FILENAME ":" FNR ": a maximum without a name: see codec/xml_write.h"
        name = line
        if (name ~ /xml_begin/) { sub(/.*xml_begin\([^,]*, */, "", name) } else sub(/.*buf_init\(/, "", name)
        sub(/,.*/, "", name)
        if (name ~ /^&[a-z_0-9]+$/) begun[substr(name, 2)] = 1
    }
    rest = line
    while (match(rest, /buf_slice\(&[a-z_0-9]+\)/)) {
        name = substr(rest, RSTART + 11, RLENGTH - 12)
        if (name in begun) taken[name] = FNR
        rest = substr(rest, RSTART + RLENGTH)
    }
    rest = line
    while (match(rest, /[a-z_0-9]+\.overflow|buf_fit\(&[a-z_0-9]+\)/)) {
        name = substr(rest, RSTART, RLENGTH)
        sub(/\.overflow|\)$/, "", name); sub(/buf_fit\(&/, "", name)
        looked[name] = 1
        rest = substr(rest, RSTART + RLENGTH)
    }
    if (FILENAME !~ /register_page/ && $0 !~ /escaped \*\// && line ~ /</ && line !~ /claim\(/ &&
        line ~ /='",|='"\)|='%[-.*0-9]*s|>%[-.*0-9]*s/ && line !~ /SLICE_INIT/)
        print FILENAME ":" FNR ": XML with a value is written by codec/xml_write.h"
}
END { finish() }
