"""What requests to a room cost grows with their size and with the people whom they concern, not
with the product of both: see test_cost.py."""
import pytest

from muster.muc import ADMIN, CONFIG, OWNER, Room, item, submit
from test_cost import alice, assert_bounded, cost_ms  # noqa: F401

pytestmark = pytest.mark.release


def request(cave, namespace, inner):
    return f"<iq type='set' id='r' to='{cave.jid}'><query xmlns='{namespace}'>{inner}</query></iq>"


def configure(cave, **fields):
    return request(cave, OWNER, submit(CONFIG, fields, "muc#roomconfig_"))


def test_a_form_that_names_other_administrators(alice):  # noqa: F811
    """More would lose their affiliation than one change may have, so it can be sent again."""
    few, many = Room("few"), Room("many")
    for cave in few, many:
        cave.create(alice, "owner", persistentroom=True)
    for k in range(0, 16_000, 1000):
        many.change(alice, *(item(jid=f"admin-{k + i:05}@example.test", affiliation="admin")
                             for i in range(1000)))
    costs = [cost_ms(alice, configure(cave, roomadmins=["one@example.test"]))
             for cave in (few, many)]
    assert_bounded(*costs)
