"""Everything at once: clients do by chance what real clients do, beside each other, and a small
model says what each of them must have seen and must not see.

    world.py    the model: what is so, and therefore what each device must see
    live.py     a device of the model on a real connection, and what it has seen
    console.py  the control socket
    actions.py  one function for each thing that somebody does
    play.py     a script of steps is made of a seed, played, compared, and shrunk if it fails
"""
