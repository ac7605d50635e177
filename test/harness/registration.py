"""What a user asks of their own account (XEP-0077 sections 3.2 and 3.3), with the current password
in a form."""

REGISTER = "<query xmlns='jabber:iq:register'>{}</query>"
CHANGE = "jabber:iq:register:changepassword"
CANCEL = "jabber:iq:register:cancel"


def form(kind, **fields):
    inner = "".join(f"<field var='{var}'><value>{value}</value></field>"
                    for var, value in {"FORM_TYPE": kind, **fields}.items())
    return REGISTER.format(f"<x xmlns='jabber:x:data' type='submit'>{inner}</x>")


def change(client, new):
    return form(CHANGE, username=client.name, old_password=client.password, password=new)


def cancel(client):
    return form(CANCEL, username=client.name, password=client.password)
