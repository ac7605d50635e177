// The page at /api/v1/: the filter, and operations that open when an address names them.
const operations = [...document.querySelectorAll("details")].map((element) => ({
    element,
    text: [...element.querySelectorAll("summary, .facts dd, th code")]
        .map((part) => part.textContent).join(" ").toLowerCase(),
}));
const filter = document.querySelector("#filter"), words = document.querySelector("#words");

function show() {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const one of operations) {
        const shown = wanted.every((word) => one.text.includes(word));
        one.element.hidden = !shown;
        found += shown;
    }
    for (const part of document.querySelectorAll("section[id^='part-']"))
        part.hidden = !part.querySelector("details:not([hidden])");
    filter.querySelector("output").textContent = `${found} of ${operations.length} operations`;
}

function open() {
    const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (named === null)
        return;
    if (named.closest("[hidden]") !== null) {
        words.value = "";
        show();
    }
    if (named.tagName === "DETAILS")
        named.open = true;
    named.scrollIntoView();
}

words.addEventListener("input", show);
addEventListener("hashchange", open);
filter.hidden = false;
show();
open();
