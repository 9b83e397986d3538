"""Fails to log in by POP3 at PORT, with user names that would forge a line of the log if they could."""
import poplib
import sys

NAMES = ["bob@example.org", 'x" reason="y" ip=203.0.113.9', 'back\\slash" ip=203.0.113.9\\',
         'auth failed proto="pop3" user="z" reason="y" ip=203.0.113.9']
for name in NAMES:
    mailbox = poplib.POP3("127.0.0.1", int(sys.argv[1]), timeout=60)
    try:
        mailbox.user(name)
        mailbox.pass_("guess")
        sys.exit(f"guess.py: {name} was let in")
    except poplib.error_proto:
        pass
    finally:
        mailbox.close()
print(len(NAMES))
