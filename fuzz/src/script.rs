//! A session as a text that mutates well: a line of words that say what stands around it, then a line
//! for each thing that happens.
//!
//! ```text
//! words           the surroundings; the first letter of each counts
//! text            the client sends this line; what the server waits for beside lines goes well
//! !X text         X happens, with the text, whether it was waited for or not
//! ```

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
pub enum Turn<'a> {
    /// The client sends a line.
    Line(&'a [u8]),
    /// Something else, by its letter, and what it needs.
    Other(u8, &'a [u8]),
}

/// At most so many turns are played: more would only be slow.
const TURNS_MAX: usize = 120;

/// The first letter of each word of the surroundings, and the turns.
pub fn read(data: &[u8]) -> (Vec<u8>, impl Iterator<Item = Turn<'_>>) {
    let mut lines = data.split(|octet| *octet == b'\n');
    let words = lines.next().unwrap_or_default().split(|octet| *octet == b' ');
    let surroundings = words.filter_map(|word| word.first().copied()).collect();
    (surroundings, lines.map(turn).take(TURNS_MAX))
}

fn turn(line: &[u8]) -> Turn<'_> {
    match line {
        [b'!', letter, text @ ..] => Turn::Other(*letter, text.strip_prefix(b" ").unwrap_or(text)),
        line => Turn::Line(line),
    }
}
