# layers: every include of a folder of ours is rooted at src/ and allowed by tools/layers.txt,
# which is the first file given.
# The folder of a file: the innermost that has a row, else the outermost.
function folder_of(file,   inner)
{
    while (sub(/\/[^\/]*$/, "", file)) {
        inner = file
        if (inner in known)
            break
    }
    return inner
}
# The folders of a word of a row: itself, or those of its group.
function members(word) { return word in group ? group[word] : word }
FNR == NR && /^=[a-z]+ = / {
    name = $1
    sub(/^=[a-z]+ = /, "")
    group[name] = $0
    next
}
FNR == NR {
    if ($0 !~ /^!?=?[a-z\/]+:/)
        next
    n = split($0, word, /[: ]+/)
    verdict = sub(/^!/, "", word[1]) ? "no" : "yes"
    split(members(word[1]), rows, " ")
    for (r in rows) {
        known[rows[r]] = 1
        allow[rows[r], rows[r]] = "yes"
        for (i = 1; i <= n; i++) {
            if (word[i] == "" || (i == 1 && (verdict == "no" || !(word[1] in group))))
                continue
            k = split(members(word[i]), to_all, " ")
            for (t = 1; t <= k; t++)
                allow[rows[r], to_all[t]] = verdict
        }
    }
    next
}
/^[ \t]*#[ \t]*include[ \t]*"/ {
    from = FILENAME
    sub(/^src\//, "", from)
    from = folder_of(from)
    match($0, /"[^"]*"/)
    header = substr($0, RSTART + 1, RLENGTH - 2)
    to = folder_of(header)
    at = FILENAME ":" FNR ": "
    if (!(to in known))
        print at "\"" header "\" is not rooted at src/"
    else if (!(from in known))
        print at from " is not in tools/layers.txt"
    else if (allow[from, header] == "no" ||
             (allow[from, to] != "yes" && allow[from, header] != "yes"))
        print at from " may not include " header
    # one that is private to a family stays in its folder
    owner = header
    sub(/\/[^\/]*$/, "", owner)
    if (header ~ /_private\.h$/ && index(FILENAME, "src/" owner "/") != 1)
        print at header " is private to " owner
    # a part of rooms can be left out of a build, so another part asks it by a hook (muc/parts.h)
    part = FILENAME
    sub(/^src\//, "", part)
    sub(/(_test|_bench|_fuzz)?\.[ch]$/, "", part)
    if (from == "muc/parts" && owner == "muc/parts" && part ".h" != header)
        print at part " may not include " header ", which can be left out of a build"
}
