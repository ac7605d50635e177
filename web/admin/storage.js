/* What the browser keeps for the next visit. One that is told to keep nothing throws. */
export function kept(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

/* null: no longer. */
export function keep(name, value) {
  try {
    if (value === null) localStorage.removeItem(name);
    else localStorage.setItem(name, value);
  } catch {
    /* It holds for this visit. */
  }
}
