"""Fetches a mailbox with poplib, trying each of its calls: PORT USER FOLDER. Deletes all at the end."""
import pathlib
import poplib
import sys

port, user, folder = sys.argv[1:]
# poplib refuses lines over 2,048 octets unless told otherwise.
poplib._MAXLINE = 1 << 20


def login():
    pop3 = poplib.POP3("127.0.0.1", int(port), timeout=60)
    pop3.user(user)
    pop3.pass_("any")
    return pop3


pop3 = login()
capabilities = pop3.capa()
assert {"UIDL", "TOP", "USER", "PIPELINING", "UTF8"} <= set(capabilities), capabilities
count, octets = pop3.stat()
listing = [line.split() for line in pop3.list()[1]]
uidls = [line.split() for line in pop3.uidl()[1]]
assert len(listing) == len(uidls) == count
assert sum(int(size) for _, size in listing) == octets
for number in range(1, count + 1):
    _, lines, size = pop3.retr(number)
    # poplib counts the octets as they came; the list holds the lines without their ends.
    assert sum(len(line) + 2 for line in lines) == int(listing[number - 1][1])
    pathlib.Path(folder, f"{number:03}").write_bytes(b"".join(line + b"\r\n" for line in lines))
    _, top, _ = pop3.top(number, 0)
    assert top == lines[:len(top)] and b"" in top, top
    assert pop3.list(number).split()[2] == listing[number - 1][1]
    assert pop3.uidl(number).split()[2] == uidls[number - 1][1]
pop3.noop()
pop3.dele(1)
try:
    pop3.retr(1)
    raise SystemExit("a deleted message was sent")
except poplib.error_proto:
    pass
pop3.rset()
assert pop3.stat() == (count, octets)
pop3.quit()

pop3 = login()
assert [line.split() for line in pop3.uidl()[1]] == uidls
for number in range(1, count + 1):
    pop3.dele(number)
pop3.quit()
pop3 = login()
assert pop3.stat() == (0, 0)
pop3.quit()
