"""Writes a message with attachments to standard output, as Python's email package makes it."""
import sys
from email.message import EmailMessage
from email.policy import SMTP

message = EmailMessage(policy=SMTP)
message["From"] = "Alice <alice@client.example>"
message["To"] = "Bob <bob@example.org>"
message["Date"] = "Tue, 24 Nov 2026 13:00:00 +0000"
message["Message-ID"] = "<mime@client.example>"
message["Subject"] = "Anhänge für Köln"
message.set_content("Text with ümlauts.\n\n.a line with a dot\n")
message.add_alternative("<p>Text with &uuml;mlauts.</p>\n", subtype="html")
message.add_attachment(bytes(range(256)) * 40, maintype="application", subtype="octet-stream",
                       filename="alle Bytes.bin")
message.add_attachment("a,b\n1,2\n", subtype="csv", filename="tabelle-ä.csv")
message.set_boundary("outer-boundary")
for number, part in enumerate(message.iter_parts()):
    if part.is_multipart():
        part.set_boundary(f"inner-boundary-{number}")
sys.stdout.buffer.write(message.as_bytes())
