//! Any line as a command of SMTP: what is read and printed is read again as the same, and nothing that
//! may be a password is logged.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillarbox::mail::address::{Address, DOMAIN_OCTETS_MAX, Domain, LOCAL_OCTETS_MAX, Sender};
use pillarbox::mail::envelope::Charset;
use pillarbox::mail::trace::Protocol;
use pillarbox::smtp::command::{Command, loggable};
use pillarbox::smtp::path::{BodyKind, Forward, Mail, MailParams};
use pillarbox::smtp::syntax::Syntax;

fn address(address: &Address) {
    let text = address.to_string();
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert!(!address.local().is_empty() && address.local().len() <= LOCAL_OCTETS_MAX);
    assert_eq!(Address::parse(&text).as_ref(), Ok(address), "{text:?}");
    domain(address.domain());
    // Whoever has the name of a mailbox has an address that leads there.
    let name = address.name();
    let again = Address::parse(&name.to_string()).expect("the name of a mailbox is an address");
    assert_eq!(again.name(), name, "{text:?}");
    if let Some(base) = name.without_tag("+") {
        let again = Address::parse(&base.to_string()).expect("the name of a mailbox is an address");
        assert_eq!(again.name(), base, "{text:?}");
    }
}

fn domain(domain: &Domain) {
    let text = domain.as_str();
    assert!(text.is_ascii() && text.len() <= DOMAIN_OCTETS_MAX, "{text:?}");
    assert_eq!(Domain::parse(text).as_ref(), Ok(domain), "{text:?}");
    let upper = text.to_ascii_uppercase();
    assert_eq!(Domain::parse(&upper).as_ref(), Ok(domain), "{upper:?}");
}

fn mail(mail: &Mail) {
    if let Sender::Address(from) = &mail.from {
        address(from);
    }
    let MailParams { size, body, charset, submitter } = &mail.params;
    let mut text = format!("MAIL FROM:{}", mail.from);
    if let Some(size) = size {
        text += &format!(" SIZE={size}");
    }
    match body {
        Some(BodyKind::SevenBit) => text += " BODY=7BIT",
        Some(BodyKind::EightBitMime) => text += " BODY=8BITMIME",
        None => {}
    }
    if *charset == Charset::Utf8 {
        text += " SMTPUTF8";
    }
    if submitter.is_some() {
        text += " AUTH=<>";
    }
    let Ok(Command::Mail(again)) = Command::parse(text.as_bytes()) else { panic!("{text:?}") };
    assert_eq!((&again.from, &again.params), (&mail.from, &mail.params), "{text:?}");
    // A domain is printed in its ASCII form, and so may need less than it was written with.
    assert!(again.written == mail.written || again.written == Charset::Ascii, "{text:?}");
}

fn printed(command: &Command<'_>) -> Option<String> {
    Some(match command {
        Command::Hello(client) => {
            assert!(client.name.bytes().all(|octet| octet.is_ascii_graphic()), "{client:?}");
            let word = match client.protocol {
                Protocol::Smtp => "HELO",
                Protocol::Esmtp => "EHLO",
                Protocol::Lmtp => "LHLO",
            };
            format!("{word} {}", client.name)
        }
        Command::Mail(it) => {
            mail(it);
            return None;
        }
        Command::Rcpt(rcpt) => match &rcpt.to {
            Forward::Postmaster => "RCPT TO:<Postmaster>".to_owned(),
            Forward::Address(to) => {
                address(to);
                let text = format!("RCPT TO:<{to}>");
                let Ok(Command::Rcpt(again)) = Command::parse(text.as_bytes()) else { panic!("{text:?}") };
                assert_eq!(again.to, rcpt.to, "{text:?}");
                return None;
            }
        },
        Command::Bdat(chunk) => format!("BDAT {}{}", chunk.size, if chunk.last { " LAST" } else { "" }),
        Command::Auth(auth) => {
            let initial = auth.initial.map(|octets| String::from_utf8_lossy(octets).into_owned());
            let name = auth.mechanism.map_or("X", |mechanism| mechanism.name());
            format!("AUTH {name} {}", initial.unwrap_or_default())
        }
        Command::StartTls => "STARTTLS".to_owned(),
        Command::Data => "DATA".to_owned(),
        Command::Rset => "RSET".to_owned(),
        Command::Quit => "QUIT".to_owned(),
        Command::Vrfy => "VRFY a".to_owned(),
        Command::Noop => "NOOP".to_owned(),
        Command::Expn => "EXPN".to_owned(),
        Command::Help => "HELP".to_owned(),
    })
}

fuzz_target!(|line: &[u8]| {
    let parsed = Command::parse(line);
    if let Ok(command) = &parsed {
        assert!(!line.iter().any(u8::is_ascii_control));
        if let Some(text) = printed(command) {
            assert_eq!(Command::parse(text.as_bytes()).as_ref(), Ok(command), "{text:?}");
        }
        let spaced = [line, b"  "].concat();
        assert_eq!(Command::parse(&spaced), parsed, "spaces at the end do not count");
    }
    let word = line.split(|octet| *octet == b' ').next().unwrap_or_default();
    if word.eq_ignore_ascii_case(b"BDAT") {
        assert!(matches!(parsed, Ok(Command::Bdat(_)) | Err(Syntax::BadChunk)), "{parsed:?}");
    }
    let shown = loggable(line);
    assert!(shown == b"?" || (line.starts_with(shown) && shown.len() <= 200));
    if word.eq_ignore_ascii_case(b"AUTH") || matches!(parsed, Err(Syntax::Unknown)) {
        assert!(shown == b"?" || shown == word, "it may hold a password");
    }
    if let Ok(text) = std::str::from_utf8(line) {
        // Other ways in for an address: the command line and the configuration.
        if let Ok(it) = Address::parse(text) {
            address(&it);
        }
        if let Ok(it) = Domain::parse(text) {
            domain(&it);
        }
    }
});
