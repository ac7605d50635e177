# narrow: a count of 8 or 16 bits that is moved (++, --, +=, -=) wraps unnoticed, unless its bound is
# stated where it is declared: "at most …" in the comment on its line, or "wraps" if that is meant.
# The sources are read twice: `awk -f narrow.awk pass=1 FILES pass=2 FILES`. A file knows what it
# declares, and the members that its headers and theirs declare.
function declared(line,    rest, parts, n, i, name)
{
    if (!match(line, /(^|[^A-Za-z0-9_])u?int(8|16)_t +[a-z_][a-z0-9_]*( *= *[^;,]+)?(, *[a-z_][a-z0-9_]*)*;/))
        return
    rest = substr(line, RSTART, RLENGTH - 1)
    sub(/^.*int(8|16)_t +/, "", rest)
    n = split(rest, parts, / *, */)
    for (i = 1; i <= n; i++) {
        name = parts[i]
        sub(/ *=.*/, "", name)
        narrow[FILENAME, name] = FNR
        stated[FILENAME, name] = line ~ /at most|wraps/
    }
}
function know(file,    i)
{
    if (file in known)
        return
    known[file] = 1
    for (i = 1; i <= included[file]; i++)
        know(include[file, i])
}
function moved(word,    name, file)
{
    name = word
    sub(/^.*(->|\.)/, "", name)
    for (file in known) # of headers, only members
        if ((file == FILENAME || name != word) && ((file, name) in narrow) && !stated[file, name])
            print FILENAME ":" FNR ": " name " has 16 bits or less: widen it, or say at " file ":" \
                narrow[file, name] " that it is \"at most\" what"
}
pass == 2 && FNR == 1 {
    delete known
    know(FILENAME)
}
pass == 1 && match($0, /^#include "[^"]+"/) {
    include[FILENAME, ++included[FILENAME]] = "src/" substr($0, 11, RLENGTH - 11)
}
pass == 1 { declared($0) }
pass == 2 && FILENAME !~ /_(test|fuzz|bench)\.c$/ {
    line = $0
    while (match(line, /[a-zA-Z_][A-Za-z0-9_>.-]*(\+\+|--| [+-]= )|(\+\+|--)[a-zA-Z_][A-Za-z0-9_>.-]*/)) {
        word = substr(line, RSTART, RLENGTH)
        line = substr(line, RSTART + RLENGTH)
        gsub(/\+\+|--|^-|[ +=]| - *$/, "", word)
        sub(/-$/, "", word)
        moved(word)
    }
}
