"""Sends a file with smtplib: PORT FROM TO FILE. Also tries what a library user would."""
import smtplib
import sys

port, sender, recipient, path = sys.argv[1:]
with open(path, "rb") as file:
    message = file.read()
with smtplib.SMTP("127.0.0.1", int(port), "client.example", timeout=60) as smtp:
    smtp.ehlo()
    assert smtp.has_extn("size") and smtp.has_extn("pipelining") and smtp.has_extn("chunking")
    assert smtp.verify("alice")[0] == 252, "VRFY"
    assert smtp.noop()[0] == 250, "NOOP"
    assert smtp.rset()[0] == 250, "RSET"
    options = ["BODY=8BITMIME"]
    if not (sender + recipient).isascii():
        options.append("SMTPUTF8")
    refused = smtp.sendmail(sender, [recipient], message, mail_options=options)
    assert refused == {}, refused
