"""The table of what somebody can do, which the modules of actions fill."""
import dataclasses

ACTIONS = {}


@dataclasses.dataclass
class Action:
    name: str
    run: object
    weight: int
    kinds: tuple  # of its arguments: on, cut, off, device, account, room, new (room), digit
    free: bool  # those that are may run beside each other whatever they are about
    drives: frozenset  # features of the server, by their names in `musterd --dump-docs features`


def action(weight, *kinds, free=False, drives=""):
    def register(run):
        ACTIONS[run.__name__] = Action(run.__name__, run, weight, kinds, free,
                                       frozenset(drives.split()))
        return run
    return register
