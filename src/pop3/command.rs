//! The words of a POP3 client: [`Command::parse`] reads one line, whatever stands in it.
//!
//! Nothing is decided here but form. Whether a command may come now is the session's to say, and
//! whether a message is there is [`super::marks`]'s.
//!
//! # Quirks: what is taken though no RFC asks for it
//!
//! - *Spaces*: more than one space before a number and any after the last word are ignored, since
//!   people type and some clients pad. A password is exempt: all after the one space that follows
//!   `PASS` belongs to it. A user name may have spaces inside and before it, none after it.
//! - *Length*: RFC 2449 §4 ends a command line at 255 octets; ours may be as long as SMTP's.

use crate::mail::ids::MsgNo;
use crate::mail::secret::Secret;
use crate::wire::sasl::Mechanism;

/// What a client asks for.
#[derive(Clone, Debug)]
pub enum Command {
    /// `USER name`
    User(Box<str>),
    /// `PASS password`
    Pass(Secret),
    /// `STAT`
    Stat,
    /// `LIST [number]`
    List(Option<MsgNo>),
    /// `RETR number`
    Retr(MsgNo),
    /// `DELE number`
    Dele(MsgNo),
    /// `NOOP`
    Noop,
    /// `RSET`
    Rset,
    /// `QUIT`
    Quit,
    /// `TOP number lines`
    Top {
        /// Which message.
        number: MsgNo,
        /// How many lines of its body; more than there are means all.
        lines: u64,
    },
    /// `UIDL [number]`
    Uidl(Option<MsgNo>),
    /// `CAPA`
    Capa,
    /// `UTF8`
    Utf8,
    /// `STLS`
    Stls,
    /// `AUTH`, which asks for the mechanisms
    Mechanisms,
    /// `AUTH mechanism [initial-response]`
    Auth {
        /// Which mechanism.
        mechanism: Mechanism,
        /// The response as it stood there: base64, or `=` for an empty one. It may hold a password.
        initial: Option<Secret>,
    },
}

/// Why a line is not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// No command of this name.
    Unknown,
    /// A command that POP3 has and this server does not.
    NotOffered,
    /// An argument is missing.
    Missing,
    /// There is an argument too many.
    Superfluous,
    /// Not a message number: zero, negative, too large, or no number at all.
    MessageNumber,
    /// Not a count of lines.
    LineCount,
    /// Not a mechanism of SASL that this server has.
    Mechanism,
    /// A user name that is not UTF-8, or with a control character in it.
    UserName,
}

impl Command {
    /// Reads a line without its CRLF.
    ///
    /// # Errors
    /// What is wrong with it, as a [`Syntax`].
    pub fn parse(line: &[u8]) -> Result<Command, Syntax> {
        let (word, rest) = match line.iter().position(|&octet| octet == b' ') {
            Some(space) => (&line[..space], Some(&line[space + 1..])),
            None => (line, None),
        };
        // RFC 1939 §3: keywords have three or four characters and no case.
        let mut keyword = [0; 4];
        let keyword = keyword.get_mut(..word.len()).ok_or(Syntax::Unknown)?;
        keyword.copy_from_slice(word);
        keyword.make_ascii_uppercase();
        match &*keyword {
            b"USER" => user_name(rest).map(Command::User),
            // RFC 1939 §7: the password is all of the line, spaces included.
            b"PASS" => rest.map(|text| Command::Pass(Secret::new(text.to_vec()))).ok_or(Syntax::Missing),
            b"STAT" => nothing(rest, Command::Stat),
            b"LIST" => optional_number(rest).map(Command::List),
            b"RETR" => one_number(rest).map(Command::Retr),
            b"DELE" => one_number(rest).map(Command::Dele),
            b"NOOP" => nothing(rest, Command::Noop),
            b"RSET" => nothing(rest, Command::Rset),
            b"QUIT" => nothing(rest, Command::Quit),
            b"TOP" => number_and_lines(rest),
            b"UIDL" => optional_number(rest).map(Command::Uidl),
            b"CAPA" => nothing(rest, Command::Capa),
            b"UTF8" => nothing(rest, Command::Utf8),
            b"STLS" => nothing(rest, Command::Stls),
            b"AUTH" => authentication(rest),
            b"APOP" => Err(Syntax::NotOffered),
            _ => Err(Syntax::Unknown),
        }
    }
}

fn words(rest: Option<&[u8]>) -> impl Iterator<Item = &[u8]> {
    rest.unwrap_or_default().split(|&octet| octet == b' ').filter(|word| !word.is_empty())
}

fn nothing(rest: Option<&[u8]>, command: Command) -> Result<Command, Syntax> {
    end(words(rest)).map(|()| command)
}

fn one_number(rest: Option<&[u8]>) -> Result<MsgNo, Syntax> {
    optional_number(rest)?.ok_or(Syntax::Missing)
}

fn optional_number(rest: Option<&[u8]>) -> Result<Option<MsgNo>, Syntax> {
    let mut words = words(rest);
    let number = words.next().map(message_number).transpose()?;
    end(words)?;
    Ok(number)
}

fn number_and_lines(rest: Option<&[u8]>) -> Result<Command, Syntax> {
    let mut words = words(rest);
    let number = message_number(words.next().ok_or(Syntax::Missing)?)?;
    let lines = line_count(words.next().ok_or(Syntax::Missing)?)?;
    end(words)?;
    Ok(Command::Top { number, lines })
}

fn end<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> Result<(), Syntax> {
    if words.next().is_none() { Ok(()) } else { Err(Syntax::Superfluous) }
}

fn message_number(word: &[u8]) -> Result<MsgNo, Syntax> {
    MsgNo::parse(word).ok_or(Syntax::MessageNumber)
}

/// RFC 1939 §7: a count of lines is not negative; one past all counting means all there are.
fn line_count(word: &[u8]) -> Result<u64, Syntax> {
    if word.is_empty() || !word.iter().all(u8::is_ascii_digit) {
        return Err(Syntax::LineCount);
    }
    let digits = std::str::from_utf8(word).map_err(|_| Syntax::LineCount)?;
    Ok(digits.parse().unwrap_or(u64::MAX))
}

fn authentication(rest: Option<&[u8]>) -> Result<Command, Syntax> {
    let mut words = words(rest);
    // Older than RFC 5034, which leaves it out: clients that do not ask CAPA ask so.
    let Some(name) = words.next() else { return Ok(Command::Mechanisms) };
    let name = std::str::from_utf8(name).map_err(|_| Syntax::Mechanism)?;
    let mechanism = Mechanism::parse(name).ok_or(Syntax::Mechanism)?;
    let initial = words.next().map(|response| Secret::new(response.to_vec()));
    end(words)?;
    Ok(Command::Auth { mechanism, initial })
}

fn user_name(rest: Option<&[u8]>) -> Result<Box<str>, Syntax> {
    let name = std::str::from_utf8(rest.unwrap_or_default()).map_err(|_| Syntax::UserName)?;
    let name = name.trim_end_matches(' ');
    if name.is_empty() {
        return Err(Syntax::Missing);
    }
    if name.chars().any(char::is_control) { Err(Syntax::UserName) } else { Ok(name.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A command as a line of text that a table can hold.
    fn shown(line: &[u8]) -> String {
        match Command::parse(line) {
            Ok(Command::Pass(secret)) => format!("Pass({:?})", String::from_utf8_lossy(secret.expose())),
            Ok(Command::List(n)) => format!("List({})", n.map_or("-".into(), |n| n.to_string())),
            Ok(Command::Uidl(n)) => format!("Uidl({})", n.map_or("-".into(), |n| n.to_string())),
            Ok(Command::Retr(n)) => format!("Retr({n})"),
            Ok(Command::Dele(n)) => format!("Dele({n})"),
            Ok(Command::Top { number, lines }) => format!("Top({number}, {lines})"),
            Ok(Command::Auth { mechanism, initial }) => {
                let initial =
                    initial.map_or("-".into(), |s| String::from_utf8_lossy(s.expose()).into_owned());
                format!("Auth({mechanism:?}, {initial})")
            }
            other => format!("{other:?}"),
        }
    }

    // proves: RFC 1939 §3
    #[test]
    fn keywords_have_no_case_and_arguments_are_checked() {
        for (line, command) in [
            ("STAT", "Ok(Stat)"),
            ("stat", "Ok(Stat)"),
            ("sTaT ", "Ok(Stat)"),
            ("NOOP", "Ok(Noop)"),
            ("RSET", "Ok(Rset)"),
            ("QUIT", "Ok(Quit)"),
            ("CAPA", "Ok(Capa)"),
            ("UTF8", "Ok(Utf8)"),
            ("LIST", "List(-)"),
            ("LIST ", "List(-)"),
            ("LIST 3", "List(3)"),
            ("UIDL", "Uidl(-)"),
            ("uidl 12", "Uidl(12)"),
            ("RETR 1", "Retr(1)"),
            ("RETR  1  ", "Retr(1)"),
            ("DELE 4294967295", "Dele(4294967295)"),
            ("TOP 1 0", "Top(1, 0)"),
            ("TOP 2 10", "Top(2, 10)"),
            ("TOP 2 99999999999999999999999", "Top(2, 18446744073709551615)"),
            ("STAT 1", "Err(Superfluous)"),
            ("QUIT now", "Err(Superfluous)"),
            ("UTF8 USER", "Err(Superfluous)"),
            ("LIST 1 2", "Err(Superfluous)"),
            ("TOP 1 2 3", "Err(Superfluous)"),
            ("RETR", "Err(Missing)"),
            ("DELE ", "Err(Missing)"),
            ("TOP", "Err(Missing)"),
            ("TOP 1", "Err(Missing)"),
            ("USER", "Err(Missing)"),
            ("USER  ", "Err(Missing)"),
            ("PASS", "Err(Missing)"),
            ("APOP ann c4c9334bac560ecc979e58001b3e22fb", "Err(NotOffered)"),
            ("AUTH", "Ok(Mechanisms)"),
            ("auth ", "Ok(Mechanisms)"),
            ("AUTH PLAIN", "Auth(Plain, -)"),
            ("auth plain =", "Auth(Plain, =)"),
            ("AUTH LOGIN YW5u", "Auth(Login, YW5u)"),
            ("AUTH SCRAM-SHA-256-PLUS", "Auth(ScramSha256Plus, -)"),
            ("AUTH PLAIN AGFubgB4 x", "Err(Superfluous)"),
            ("AUTH CRAM-MD5", "Err(Mechanism)"),
            ("AUTH \u{e9}", "Err(Mechanism)"),
            ("STLS", "Ok(Stls)"),
            ("stls", "Ok(Stls)"),
            ("STLS now", "Err(Superfluous)"),
            ("", "Err(Unknown)"),
            (" ", "Err(Unknown)"),
            (" STAT", "Err(Unknown)"),
            ("STATS", "Err(Unknown)"),
            ("STA", "Err(Unknown)"),
            ("STAT\r", "Err(Unknown)"),
            ("STAT\t", "Err(Unknown)"),
            ("GET / HTTP/1.1", "Err(Unknown)"),
        ] {
            assert_eq!(shown(line.as_bytes()), command, "{line:?}");
        }
    }

    #[test]
    fn what_is_no_message_number_is_refused_in_every_command() {
        for number in
            ["0", "-1", "+1", "1.5", "x", "0x1", "1\r", "4294967296", "99999999999999999999", "\u{0661}"]
        {
            for verb in ["LIST", "RETR", "DELE", "UIDL"] {
                assert_eq!(shown(format!("{verb} {number}").as_bytes()), "Err(MessageNumber)");
            }
            assert_eq!(shown(format!("TOP {number} 1").as_bytes()), "Err(MessageNumber)");
        }
    }

    #[test]
    fn a_count_of_lines_is_digits_and_nothing_else() {
        for count in ["-1", "+1", "1.0", "many", "1\r"] {
            assert_eq!(shown(format!("TOP 1 {count}").as_bytes()), "Err(LineCount)", "{count}");
        }
    }

    // proves: RFC 1939 §7
    #[test]
    fn a_password_keeps_every_octet_after_the_one_space() {
        for (line, password) in [
            (&b"PASS secret"[..], r#"Pass("secret")"#),
            (b"PASS two words", r#"Pass("two words")"#),
            (b"pass  before and after  ", r#"Pass(" before and after  ")"#),
            (b"PASS ", r#"Pass("")"#),
            (b"PASS tab\there", r#"Pass("tab\there")"#),
            ("PASS grün".as_bytes(), r#"Pass("grün")"#),
        ] {
            assert_eq!(shown(line), password);
        }
        assert!(
            matches!(Command::parse(b"PASS \xff\xfe"), Ok(Command::Pass(s)) if s.expose() == b"\xff\xfe")
        );
    }

    #[test]
    fn a_user_name_is_text_without_control_characters() {
        for (line, command) in [
            (&b"USER ann@example.org"[..], "Ok(User(\"ann@example.org\"))"),
            (b"USER ann@example.org  ", "Ok(User(\"ann@example.org\"))"),
            (b"USER \"two words\"@example.org", "Ok(User(\"\\\"two words\\\"@example.org\"))"),
            ("USER grün@example.org".as_bytes(), "Ok(User(\"grün@example.org\"))"),
            (b"USER ann\xff", "Err(UserName)"),
            (b"USER ann\x00", "Err(UserName)"),
            (b"USER ann\rip=10.0.0.1", "Err(UserName)"),
        ] {
            assert_eq!(shown(line), command);
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_a_panic(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Command::parse(&line);
        }

        #[test]
        fn a_debug_output_never_shows_a_password(password in "[a-z]{12}") {
            for verb in ["PASS", "AUTH PLAIN"] {
                let line = format!("{verb} {password}");
                let shown = format!("{:?}", Command::parse(line.as_bytes()));
                prop_assert!(!shown.contains(&password));
            }
        }
    }
}
