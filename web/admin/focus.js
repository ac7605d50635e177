/* Where the focus goes when what had it is gone, or cannot have it for a while: the one place for all
 * buttons that their own success takes away. Next to it, if that was in a line of a list or a group of
 * buttons; in a dialog the first field; else the heading of the page. */
const groups = "tbody, tr, td, .buttons, .tools, .groups, .groups > *";
const focusable = "a[href], button, input, select, textarea, summary, [tabindex='0']";
const fields = "input, select, textarea";

let last = null; /* place of what had the focus */

/* Its element, and the boxes around it with what it was the how-manieth of. */
function placeOf(element) {
  const boxes = [];
  for (let at = element; at.parentElement; at = at.parentElement)
    boxes.push({ box: at.parentElement, index: [...at.parentElement.children].indexOf(at) });
  return { element, boxes };
}

const canHave = (element) => element.matches(":enabled, :not(button, input, select, textarea)") && element.checkVisibility();
const focusablesOf = (box) => [...box.querySelectorAll(focusable)].filter(canHave);

/* Inside the box, what has come to this index or follows it, else what is before. */
function neighbour(box, index) {
  const found = focusablesOf(box);
  const child = box.children[index];
  const follows = (element) => child && (child.contains(element) || child.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING);
  return found.find(follows) ?? found.at(-1);
}

/* The first field of a dialog, or its first button after that of its header. */
export const entryOf = (dialog) => [...dialog.querySelectorAll(fields)].find(canHave) ??
  focusablesOf(dialog).find((element) => !element.closest("header")) ?? focusablesOf(dialog)[0];

function successor({ boxes }) {
  const dialog = [...document.querySelectorAll("dialog[open]")].at(-1);
  for (const { box, index } of boxes) {
    if (!box.isConnected || !box.matches(groups) || (dialog && !dialog.contains(box))) continue;
    const next = neighbour(box, index);
    if (next) return next;
  }
  return dialog ? entryOf(dialog) : document.querySelector("main h1[tabindex]") ?? document.querySelector("main input");
}

/* What is disabled only waits: it gets the focus back with its next change. */
function keep() {
  if (!last || (document.activeElement && document.activeElement !== document.body)) return;
  const { element } = last;
  const open = [...document.querySelectorAll("dialog[open]")].at(-1);
  const there = element.isConnected && (!open || open.contains(element));
  if (there && element.matches(":disabled")) return;
  const next = there && canHave(element) ? element : successor(last);
  next?.focus({ preventScroll: next.tagName === "H1" });
}

/* What had the focus before a dialog: to be given to giveBack() when it is closed. */
export const takePlace = () => last;

export function giveBack(place) {
  last = place;
  keep();
}

/* Whoever presses beside everything means to have the focus nowhere. */
addEventListener("pointerdown", ({ target }) => {
  const pressed = target.closest?.(focusable);
  last = pressed ? placeOf(pressed) : null;
}, true);
addEventListener("focusin", ({ target }) => { last = placeOf(target); }, true);
new MutationObserver(keep).observe(document, { childList: true, subtree: true, attributeFilter: ["disabled", "hidden", "open"] });
