//! Any line as a command of POP3: what is read and printed is read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillarbox::mail::secret::Secret;
use pillarbox::pop3::command::Command;

fn octets(secret: &Secret) -> String {
    String::from_utf8_lossy(secret.expose()).into_owned()
}

fn numbered(word: &str, number: Option<impl ToString>) -> String {
    number.map_or(word.to_owned(), |number| format!("{word} {}", number.to_string()))
}

/// As a client would write it, secrets shown; `None` where it is no text.
fn printed(command: &Command) -> Option<String> {
    Some(match command {
        Command::User(name) => {
            assert!(!name.is_empty() && !name.chars().any(char::is_control) && !name.ends_with(' '));
            format!("USER {name}")
        }
        Command::Pass(password) => {
            std::str::from_utf8(password.expose()).ok()?;
            format!("PASS {}", octets(password))
        }
        Command::List(number) => numbered("LIST", *number),
        Command::Uidl(number) => numbered("UIDL", *number),
        Command::Retr(number) => format!("RETR {number}"),
        Command::Dele(number) => format!("DELE {number}"),
        Command::Top { number, lines } => format!("TOP {number} {lines}"),
        Command::Auth { mechanism, initial } => {
            let initial = initial.as_ref().map(octets).filter(|text| !text.contains('\u{fffd}'));
            numbered(&format!("AUTH {}", mechanism.name()), initial)
        }
        Command::Stat => "STAT".to_owned(),
        Command::Noop => "NOOP".to_owned(),
        Command::Rset => "RSET".to_owned(),
        Command::Quit => "QUIT".to_owned(),
        Command::Capa => "CAPA".to_owned(),
        Command::Utf8 => "UTF8".to_owned(),
        Command::Stls => "STLS".to_owned(),
        Command::Mechanisms => "AUTH".to_owned(),
    })
}

fuzz_target!(|line: &[u8]| {
    let Ok(command) = Command::parse(line) else { return };
    if let Command::Pass(password) = &command {
        // RFC 1939 §7: all that follows the first space.
        assert_eq!(Some(password.expose()), line.get(5..));
    }
    let Some(text) = printed(&command) else { return };
    let again = Command::parse(text.as_bytes()).unwrap_or_else(|fault| panic!("{text:?}: {fault:?}"));
    assert_eq!(printed(&again).as_ref(), Some(&text));
    // Not only its print: a command with another meaning would print alike if a field were left out.
    assert_eq!(std::mem::discriminant(&again), std::mem::discriminant(&command));
    assert!(Command::parse(text.to_ascii_uppercase().as_bytes()).is_ok());
});
