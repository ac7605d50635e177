"""What stands in the table of pairs (table.py) where no seed does."""

TESTS = {}  # pair, in the order of the alphabet: file::test

# Features that no seed drives, and why they need no other one beside them.
ALONE = {
    "devices": "keeps the id of a client beside its session, for lists of devices and tokens; it "
               "sees no stanza (test_fast.py, test_password.py)",
    "guest": "off by default; a guest has no account, and what it may not say is refused before "
             "any other feature sees it (test_guest.py)",
}
