//! Mail in files: mboxes and single messages, read in bounded memory, and mboxes written.
//!
//! An mbox is read as mboxrd: a line of `>`s before `From ` loses one of them, which is what mboxo needs
//! too. A message ends at an empty line before `From ` with a time in it, or at the end of the file. The
//! reader of `mail_parser` is not used: it holds any message whole, however large, and takes any `From ` at
//! the start of a line for the next message.

use std::io::{self, BufRead, Read as _, Write};

/// What is looked at together; a line may be longer, and is then read in parts.
const PART_OCTETS: u64 = 64 * 1024;
const FROM: &[u8] = b"From ";

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Many messages, each behind a line that begins with `From `.
    Mbox,
    /// One message.
    Single,
}

/// What was found where a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The message, its lines ended by CRLF.
    Message(Vec<u8>),
    /// One that is larger than the limit.
    TooLarge,
}

/// The messages of a file.
#[derive(Debug)]
pub struct Messages<R> {
    from: R,
    form: Form,
    octets_max: usize,
    under_way: Option<Message>,
    is_line_start: bool,
    /// An empty line that may be the end of the message and not a part of it.
    held: bool,
}

/// A message under way.
#[derive(Debug, Default)]
struct Message {
    octets: Vec<u8>,
    last: u8,
    is_too_large: bool,
}

impl Message {
    /// Appends part of a line; its end becomes CRLF.
    fn push(&mut self, part: &[u8], octets_max: usize) {
        let (text, has_end) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
        self.append(text, octets_max);
        if has_end {
            let end: &[u8] = if self.last == b'\r' { b"\n" } else { b"\r\n" };
            self.append(end, octets_max);
        }
    }

    fn append(&mut self, octets: &[u8], octets_max: usize) {
        self.last = octets.last().copied().unwrap_or(self.last);
        self.is_too_large |= self.octets.len() + octets.len() > octets_max;
        if self.is_too_large {
            self.octets = Vec::new();
        } else {
            self.octets.extend_from_slice(octets);
        }
    }

    fn end(mut self, octets_max: usize) -> Found {
        if !self.octets.is_empty() && self.last != b'\n' {
            // A CR that nothing follows is a bare one, and no half of an end.
            self.append(b"\r\n", octets_max);
        }
        if self.is_too_large { Found::TooLarge } else { Found::Message(self.octets) }
    }
}

impl<R: BufRead> Messages<R> {
    /// The messages of `from`, each of at most `octets_max` octets.
    pub fn new(from: R, form: Form, octets_max: usize) -> Messages<R> {
        let under_way = (form == Form::Single).then(Message::default);
        Messages { from, form, octets_max, under_way, is_line_start: true, held: false }
    }

    /// The next message; `None` after the last.
    ///
    /// # Errors
    /// What the file says when it cannot be read.
    pub fn next_message(&mut self) -> io::Result<Option<Found>> {
        let mut part = Vec::new();
        loop {
            part.clear();
            let octets = (&mut self.from).take(PART_OCTETS).read_until(b'\n', &mut part)?;
            if octets == 0 {
                return Ok(self.under_way.take().map(|message| message.end(self.octets_max)));
            }
            let is_line_start = self.is_line_start;
            self.is_line_start = part.ends_with(b"\n");
            if is_line_start && self.separates(&part) {
                self.held = false;
                if let Some(message) = self.under_way.replace(Message::default()) {
                    return Ok(Some(message.end(self.octets_max)));
                }
                continue;
            }
            // What stands before the first message of an mbox is none.
            let Some(message) = &mut self.under_way else { continue };
            if std::mem::take(&mut self.held) {
                message.push(b"\n", self.octets_max);
            }
            let is_empty = matches!(part.as_slice(), b"\n" | b"\r\n");
            if self.form == Form::Mbox && is_line_start && is_empty {
                self.held = true;
                continue;
            }
            let is_quoted =
                self.form == Form::Mbox && is_line_start && part.starts_with(b">") && is_from(&part);
            message.push(part.get(usize::from(is_quoted)..).unwrap_or_default(), self.octets_max);
        }
    }

    fn separates(&self, line: &[u8]) -> bool {
        let is_first = self.under_way.is_none();
        let may = self.form == Form::Mbox && line.starts_with(FROM);
        may && (is_first || (self.held && has_time(line)))
    }
}

/// Whether a line is `From ` behind any number of `>`.
fn is_from(line: &[u8]) -> bool {
    let quotes = line.iter().take_while(|octet| **octet == b'>').count();
    line.get(quotes..).is_some_and(|rest| rest.starts_with(FROM))
}

/// Whether a line has a time of day, as every line between the messages of an mbox does.
fn has_time(line: &[u8]) -> bool {
    line.windows(5).any(|five| match five {
        [a, b, b':', c, d] => [a, b, c, d].iter().all(|digit| digit.is_ascii_digit()),
        _ => false,
    })
}

/// Writes messages one behind the other, in the form mboxrd, with LF line ends.
#[derive(Debug)]
pub struct MboxWriter<W> {
    into: W,
    /// The line that is not whole yet.
    line: Vec<u8>,
    /// Part of the line is written already: it was too long to be held.
    is_begun: bool,
}

impl<W: Write> MboxWriter<W> {
    /// Writes into `into`.
    pub fn new(into: W) -> MboxWriter<W> {
        MboxWriter { into, line: Vec::new(), is_begun: false }
    }

    /// Begins a message: who sent it, without white space, and when, as `asctime` writes it.
    ///
    /// # Errors
    /// What the file says when it cannot be written.
    pub fn begin(&mut self, sender: &str, date: &str) -> io::Result<()> {
        writeln!(self.into, "From {sender} {date}")
    }

    /// Writes octets of the message, cut anywhere.
    ///
    /// # Errors
    /// As [`MboxWriter::begin`].
    pub fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        for part in octets.split_inclusive(|octet| *octet == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.ends_with(b"\n") {
                self.write_line()?;
                self.is_begun = false;
            } else if self.line.len() as u64 >= PART_OCTETS && self.line.last() != Some(&b'\r') {
                self.write_line()?;
                self.is_begun = true;
            }
        }
        Ok(())
    }

    /// Ends the message.
    ///
    /// # Errors
    /// As [`MboxWriter::begin`].
    pub fn end(&mut self) -> io::Result<()> {
        if !self.line.is_empty() || self.is_begun {
            self.write(b"\n")?;
        }
        self.into.write_all(b"\n")
    }

    /// All messages are written; what they were written into.
    pub fn into_inner(self) -> W {
        self.into
    }

    fn write_line(&mut self) -> io::Result<()> {
        if !self.is_begun && is_from(&self.line) {
            self.into.write_all(b">")?;
        }
        match self.line.strip_suffix(b"\r\n") {
            Some(text) => {
                self.into.write_all(text)?;
                self.into.write_all(b"\n")?;
            }
            None => self.into.write_all(&self.line)?,
        }
        self.line.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], form: Form, octets_max: usize) -> Vec<Found> {
        let mut messages = Messages::new(text, form, octets_max);
        std::iter::from_fn(|| messages.next_message().unwrap()).collect()
    }

    fn message(text: &str) -> Found {
        Found::Message(text.replace('\n', "\r\n").into_bytes())
    }

    #[test]
    fn an_mbox_is_cut_where_its_messages_end_and_nowhere_else() {
        const MBOX: &[u8] =
            b"From a@b Mon Jan  1 00:00:00 2024\nSubject: 1\n\nFrom here on\n>From x\n>>From y\n\
            > From z\n\nFrom what I know\n\n\nFrom c@d Tue Jan  2 10:20:30 2024\r\nSubject: 2\r\n\r\nend";
        let want = [
            message("Subject: 1\n\nFrom here on\nFrom x\n>From y\n> From z\n\nFrom what I know\n\n"),
            message("Subject: 2\n\nend\n"),
        ];
        assert_eq!(read(MBOX, Form::Mbox, 1000), want);
        assert_eq!(read(b"no mbox\n", Form::Mbox, 1000), []);
        assert_eq!(read(b"From x\n", Form::Mbox, 1000), [message("")]);
    }

    #[test]
    fn a_single_message_is_all_of_its_file() {
        assert_eq!(read(b"From: a\n\n>From b", Form::Single, 99), [message("From: a\n\n>From b\n")]);
        assert_eq!(read(b"", Form::Single, 99), [message("")]);
        assert_eq!(
            read(b"a\rb\r", Form::Single, 99),
            [message("a\rb\r\n")],
            "a bare CR stays, and gets an end"
        );
        assert_eq!(read(b"a\r\n", Form::Single, 99), [Found::Message(b"a\r\n".to_vec())]);
        let long = "y".repeat(200_000) + "\n";
        assert_eq!(read(long.as_bytes(), Form::Single, 1 << 20), [message(&long)]);
    }

    #[test]
    fn a_message_that_is_too_large_is_passed_over_and_the_next_one_read() {
        let large = "x".repeat(70_000) + "\n";
        let mbox = format!("From a 00:00\n{large}\nFrom a 00:00\nsmall\n\n");
        assert_eq!(read(mbox.as_bytes(), Form::Mbox, 1000), [Found::TooLarge, message("small\n")]);
        assert_eq!(read(b"four\n", Form::Single, 5), [Found::TooLarge], "its end counts as two");
        assert_eq!(read(b"four\n", Form::Single, 6), [message("four\n")]);
    }
}
