"""Everything at once: clients do by chance what real clients do, beside each other, and a small
model says what each of them must have seen and must not see.

    world.py    the model: what is so, and therefore what each device must see
    live.py     a device of the model on a real connection, and what it has seen
    console.py  the control socket
    registry.py the table of what somebody can do, and what features of the server that drives
    actions.py  sessions, presence, messages, rooms, the end of the server
    accounts.py what becomes of accounts, files, lists and archives
    extras.py   what goes on beside that, and shall not be noticed
    play.py     a script of steps is made of a seed, played, compared, and shrunk if it fails
    table.py    makes PAIRS.md: which features meet in which seed, and reasons.py why some do not
"""
