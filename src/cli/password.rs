//! Where a new password comes from: the terminal, asked twice without echo, or one line of
//! standard input or of a file.

use super::output::Failure;
use crate::mail::secret::Secret;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Longest password in octets: more than fits into a POP3 line with room to spare would be a
/// password that cannot be used.
pub const PASSWORD_OCTETS_MAX: usize = 1024;

/// Where a password is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The terminal of whoever runs the command.
    Terminal,
    /// The first line of standard input.
    StandardInput,
    /// The first line of a file, such as a secret that a container is given.
    File(PathBuf),
}

/// Asks for a new password.
///
/// # Errors
/// [`Failure`] when there is nobody to ask, or the answer is no password.
pub fn ask(source: &Source) -> Result<Secret, Failure> {
    match source {
        Source::StandardInput => read_line(&mut io::stdin().lock()),
        Source::File(path) => {
            let file = File::open(path).map_err(|error| {
                Failure::because(format_args!("the password cannot be read from {}: {error}", path.display()))
            })?;
            // Octet by octet: what a larger buffer reads ahead would not be wiped.
            read_line(&mut BufReader::with_capacity(1, file))
        }
        Source::Terminal => {
            let first = prompt("Password: ")?;
            let again = prompt("The same again: ")?;
            if first.expose() != again.expose() {
                return Err(Failure::because("the two passwords are not the same; nothing was changed"));
            }
            Ok(first)
        }
    }
}

fn prompt(text: &str) -> Result<Secret, Failure> {
    let answer = rpassword::prompt_password(text).map_err(|error| {
        Failure::because(format!(
            "there is no terminal to ask for the password ({error}); use --password-stdin or --password-file"
        ))
    })?;
    check(Secret::new(answer.into_bytes()))
}

/// Reads the first line; exactly one LF or CRLF at its end is no part of the password.
fn read_line(input: &mut impl BufRead) -> Result<Secret, Failure> {
    // One buffer that never grows, so that no copy of the password is left behind.
    let mut line = Zeroizing::new(Vec::with_capacity(PASSWORD_OCTETS_MAX + 3));
    let mut bounded = input.take(PASSWORD_OCTETS_MAX as u64 + 3);
    bounded
        .read_until(b'\n', &mut line)
        .map_err(|error| Failure::because(format!("the password cannot be read: {error}")))?;
    let password =
        line.strip_suffix(b"\n").map_or(line.as_slice(), |rest| rest.strip_suffix(b"\r").unwrap_or(rest));
    check(Secret::new(password.to_vec()))
}

fn check(password: Secret) -> Result<Secret, Failure> {
    let octets = password.expose();
    if octets.is_empty() {
        return Err(Failure::because("the password is empty; nothing was changed"));
    }
    if octets.len() > PASSWORD_OCTETS_MAX {
        let reason = format!("the password is longer than {PASSWORD_OCTETS_MAX} octets; nothing was changed");
        return Err(Failure::Reason(reason));
    }
    if octets.iter().any(|b| matches!(b, 0 | b'\r' | b'\n')) {
        return Err(Failure::because(
            "the password has a NUL, CR or LF in it, which no mail program can send; nothing was changed",
        ));
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> Option<Vec<u8>> {
        read_line(&mut &*input).ok().map(|secret| secret.expose().to_vec())
    }

    #[test]
    fn one_line_end_is_no_part_of_the_password_and_all_else_is() {
        for (input, password) in [
            (b"secret\n".as_slice(), b"secret".as_slice()),
            (b"secret\r\n", b"secret"),
            (b"secret", b"secret"),
            (b" sec ret \n", b" sec ret "),
            (b"first\nsecond\n", b"first"),
            ("grün\n".as_bytes(), "grün".as_bytes()),
        ] {
            assert_eq!(read(input).as_deref(), Some(password), "{input:?}");
        }
    }

    #[test]
    fn what_nobody_could_log_in_with_is_no_password() {
        for input in [b"".as_slice(), b"\n", b"\r\n", b"a\0b\n", b"a\r\r\n"] {
            assert_eq!(read(input), None, "{input:?}");
        }
        assert!(read(&[b'x'; PASSWORD_OCTETS_MAX]).is_some());
        assert!(read(&[b'x'; PASSWORD_OCTETS_MAX + 1]).is_none());
        let mut long = vec![b'x'; PASSWORD_OCTETS_MAX];
        long.extend_from_slice(b"\r\nmore");
        assert!(read(&long).is_some());
        assert!(read(&[b'x'; 1 << 20]).is_none());
    }
}
