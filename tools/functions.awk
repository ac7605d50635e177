# functions: reads ctags lines; at most 70 lines and 6 parameters a function.
BEGIN { FS = "\t" }
{
    start = end = 0
    signature = ""
    for (i = 4; i <= NF; i++) {
        if ($i ~ /^line:/)
            start = substr($i, 6)
        else if ($i ~ /^end:/)
            end = substr($i, 5)
        else if ($i ~ /^signature:/)
            signature = substr($i, 11)
    }
    if (end && end - start + 1 > 70)
        print $2 ":" start ": " $1 "() has " end - start + 1 " lines, 70 are allowed"
    depth = 0
    count = signature ~ /^\([ ]*(void)?[ ]*\)$/ ? 0 : 1
    for (i = 1; i <= length(signature); i++) {
        c = substr(signature, i, 1)
        if (c == "(")
            depth++
        else if (c == ")")
            depth--
        else if (c == "," && depth == 1)
            count++
    }
    if (count > 6)
        print $2 ":" start ": " $1 "() has " count " parameters, 6 are allowed"
}
