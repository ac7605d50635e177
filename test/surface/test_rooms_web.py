"""Rooms in Converse.js: two people, two browsers, one room."""
import pytest

from surface.test_webchat import opened

ROOM = "cave@conference.localhost"


@pytest.fixture
def browsers(tmp_path):
    with opened(tmp_path, 2) as made:
        yield made


def menu(browser, entry):
    """An entry of the menu of rooms."""
    browser.click("converse-rooms-list .dropdown-toggle")
    browser.click(f"converse-rooms-list {entry}")


def create(browser, name):
    menu(browser, ".show-add-muc-modal")
    browser.fill("converse-add-muc-modal input[name=chatroom]", name)
    browser.click("converse-add-muc-modal [type=submit]")
    browser.find("converse-muc textarea.chat-textarea")


def enter_listed(browser, name):
    """By the list of rooms that the service gives."""
    menu(browser, ".show-list-muc-modal")
    browser.click("converse-muc-list-modal [type=submit]")
    browser.click("converse-muc-list-modal a.open-room", name)
    browser.find("converse-muc textarea.chat-textarea")


@pytest.mark.release
def test_two_in_a_room(server, browsers):
    """With MUSTER_PICTURES=FOLDER the page is saved as PNG."""
    url = f"https://localhost:{server.https_port}/chat"
    alice, bob = browsers
    alice.login(url, "alice@localhost", "secret")
    create(alice, ROOM)
    bob.login(url, "bob@localhost", "secret")
    enter_listed(bob, "cave")
    alice.find(".occupant-list .occupant-nick", "bob")
    alice.say("when shall we three meet again?")
    bob.find("converse-chat-message-body", "when shall we three meet again?")
    bob.say("when the hurlyburly's done")
    alice.find("converse-chat-message-body", "when the hurlyburly's done")
    bob.say("/topic The heath")
    alice.find("converse-muc-heading", "The heath")
    alice.save("rooms")
    assert alice.complaints() == [] and bob.complaints() == []
