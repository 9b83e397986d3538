//! Conversations as files: how they are written and how they are played.
//!
//! ```text
//! # text         a comment
//! > bare: why    before the first turn: play this on the bare session only
//! > with: words  before the first turn: in these surroundings, which a bare session alone has
//! C: text        the client sends the line, ended by CRLF
//! C| text        the client sends the text and nothing after it; \r \n \t \0 \\ and \xHH are read
//! S: text        the server says this line; … in it stands for any text
//! C*30: text     thirty times; S*30: as well
//! S*: text       the server says any lines, the last of which is the first that is this one
//! X: close       the server has closed the connection and said nothing more
//! X: silence     the client says nothing for too long
//! X: stop        the server is told to stop
//! X: tls         the TLS handshake that the server has agreed to
//! ```
//!
//! Several `C` before an `S` are sent ahead of the replies. At the end of a file nothing that the
//! server said may be left over.

use std::fs;
use std::path::Path;

/// The other end of a conversation: a bare session in memory, or a server behind a socket.
pub(crate) trait Other {
    /// Sends octets to it.
    fn send(&mut self, octets: &[u8]);
    /// The next line that it says, without CRLF; `None` when it has closed instead.
    fn line(&mut self) -> Option<String>;
    /// The client says nothing for too long.
    fn fall_silent(&mut self);
    /// The server is told to stop.
    fn stop(&mut self);
    /// Both do the TLS handshake that was agreed on.
    fn secure(&mut self);
    /// What it has said and nobody has read, once it has answered everything; the end of it.
    fn left_over(&mut self) -> String;
}

/// A session in memory, of either protocol.
pub(crate) trait Bare {
    /// Sends octets to it; it has answered when this returns.
    fn send(&mut self, octets: &[u8]);
    /// All that it has said since the last call.
    fn said(&mut self) -> String;
    /// Whether it has closed.
    fn is_over(&self) -> bool;
    /// The client says nothing for too long.
    fn fall_silent(&mut self);
    /// The server is told to stop.
    fn stop(&mut self);
    /// Both do the TLS handshake that was agreed on.
    fn secure(&mut self);
}

/// A [`Bare`] session as the other end of a conversation.
pub(crate) struct Memory<B> {
    session: B,
    unread: String,
}

impl<B: Bare> Memory<B> {
    /// At the start of the session.
    pub(crate) fn new(session: B) -> Memory<B> {
        Memory { session, unread: String::new() }
    }
}

impl<B: Bare> Other for Memory<B> {
    fn send(&mut self, octets: &[u8]) {
        self.session.send(octets);
    }

    fn line(&mut self) -> Option<String> {
        self.unread.push_str(&self.session.said());
        match self.unread.split_once("\r\n") {
            Some((line, rest)) => {
                let line = line.to_owned();
                self.unread = rest.to_owned();
                Some(line)
            }
            None => {
                assert_eq!(self.unread, "", "half a line");
                assert!(self.session.is_over(), "the server says nothing and waits");
                None
            }
        }
    }

    fn fall_silent(&mut self) {
        self.session.fall_silent();
    }

    fn stop(&mut self) {
        self.session.stop();
    }

    fn secure(&mut self) {
        self.session.secure();
    }

    fn left_over(&mut self) -> String {
        self.unread.push_str(&self.session.said());
        std::mem::take(&mut self.unread)
    }
}

/// On what a conversation can be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// On a bare session, with a store that the script commands.
    Bare,
    /// On everything.
    Anything,
}

/// One conversation.
#[derive(Debug)]
pub(crate) struct Script {
    /// The file's name.
    pub(crate) name: String,
    /// Where it can be played.
    pub(crate) stage: Stage,
    /// In which surroundings.
    pub(crate) with: Vec<String>,
    turns: Vec<(usize, Turn)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Turn {
    Client(Vec<u8>),
    Server(String),
    Until(String),
    Close,
    Silence,
    Stop,
    Tls,
}

/// Every conversation in `tests/dialogues/<folder>`, by name.
pub(crate) fn read_all(folder: &str) -> Vec<Script> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues").join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "txt"));
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        parse(&name, &fs::read_to_string(path).unwrap())
    };
    let scripts: Vec<Script> = paths.iter().map(read).collect();
    assert!(!scripts.is_empty(), "{} holds no conversation", folder.display());
    scripts
}

fn parse(name: &str, text: &str) -> Script {
    let mut script =
        Script { name: name.to_owned(), stage: Stage::Anything, with: Vec::new(), turns: Vec::new() };
    for (at, line) in text.lines().enumerate() {
        let at = at + 1;
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(reason) = line.strip_prefix("> bare: ") {
            assert!(!reason.is_empty() && script.turns.is_empty(), "{name}:{at}: why, and first of all");
            script.stage = Stage::Bare;
            continue;
        }
        if let Some(words) = line.strip_prefix("> with: ") {
            assert!(script.turns.is_empty(), "{name}:{at}: first of all");
            script.stage = Stage::Bare;
            script.with = words.split_whitespace().map(str::to_owned).collect();
            continue;
        }
        let (turn, times) = turn(line).unwrap_or_else(|| panic!("{name}:{at}: cannot read {line:?}"));
        script.turns.extend(std::iter::repeat_n((at, turn), times));
    }
    script
}

fn turn(line: &str) -> Option<(Turn, usize)> {
    let (head, text) = line.split_at(line.find([':', '|'])?);
    let (mark, text) = (&text[..1], text[1..].strip_prefix(' ').unwrap_or(&text[1..]));
    let (who, times) = match head.split_once('*') {
        Some(("S", "")) if mark == ":" => return Some((Turn::Until(text.to_owned()), 1)),
        Some((who, times)) => (who, times.parse().ok()?),
        None => (head, 1),
    };
    let turn = match (who, mark, text) {
        ("C", ":", text) => Turn::Client(format!("{text}\r\n").into_bytes()),
        ("C", "|", text) => Turn::Client(unescape(text)?),
        ("S", ":", text) => Turn::Server(text.to_owned()),
        ("X", ":", "close") => Turn::Close,
        ("X", ":", "silence") => Turn::Silence,
        ("X", ":", "stop") => Turn::Stop,
        ("X", ":", "tls") => Turn::Tls,
        _ => return None,
    };
    Some((turn, times))
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        if octet != b'\\' {
            octets.push(octet);
            continue;
        }
        let (&escape, after) = rest.split_first()?;
        rest = after;
        octets.push(match escape {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
                rest = &rest[2..];
                u8::from_str_radix(digits, 16).ok()?
            }
            _ => return None,
        });
    }
    Some(octets)
}

fn next_line(other: &mut dyn Other, place: &str, want: &str) -> String {
    other.line().unwrap_or_else(|| panic!("{place}: the server closed, instead of saying {want:?}"))
}

impl Script {
    /// Whether the client falls silent in it, which a server has to be made to notice soon.
    pub(crate) fn falls_silent(&self) -> bool {
        self.turns.iter().any(|(_, turn)| *turn == Turn::Silence)
    }

    /// Plays the conversation with `other` and panics where it goes another way.
    pub(crate) fn play(&self, other: &mut dyn Other) {
        for (at, turn) in &self.turns {
            let place = format!("{}:{at}", self.name);
            match turn {
                Turn::Client(octets) => other.send(octets),
                Turn::Silence => other.fall_silent(),
                Turn::Stop => other.stop(),
                Turn::Tls => other.secure(),
                Turn::Close => assert_eq!(other.line(), None, "{place}: the server should have closed"),
                Turn::Server(want) => {
                    let got = next_line(other, &place, want);
                    assert!(fits(want, &got), "{place}:\nwant {want:?}\ngot  {got:?}");
                }
                Turn::Until(want) => while !fits(want, &next_line(other, &place, want)) {},
            }
        }
        assert_eq!(other.left_over(), "", "{}: said at the end, and not in the script", self.name);
    }
}

/// Whether `got` is `want`, where … in `want` stands for any text.
fn fits(want: &str, got: &str) -> bool {
    match want.split_once('…') {
        None => want == got,
        Some((before, after)) => got.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| fits(after, &rest[at..]))
        }),
    }
}

#[test]
fn a_line_with_an_ellipsis_fits_many() {
    for (want, got, fit) in [
        ("250 ok", "250 ok", true),
        ("250 ok", "250 ok ", false),
        ("250 … as …", "250 2.0.0 queued as X", true),
        ("250 …", "251 x", false),
        ("…", "", true),
    ] {
        assert_eq!(fits(want, got), fit, "{want:?} {got:?}");
    }
}

#[test]
fn turns_are_read_from_their_lines() {
    let turns = |text: &str| parse("test", text).turns.into_iter().map(|(_, turn)| turn).collect::<Vec<_>>();
    assert_eq!(turns("# a comment\n\nC: NOOP\n"), [Turn::Client(b"NOOP\r\n".to_vec())]);
    assert_eq!(turns("C| a\\r\\x00\\\\"), [Turn::Client(b"a\r\0\\".to_vec())]);
    assert_eq!(
        turns("C:\nS: 500 no: such"),
        [Turn::Client(b"\r\n".to_vec()), Turn::Server("500 no: such".into())]
    );
    assert_eq!(turns("S*2: 250 ok\nX: close").len(), 3);
    assert_eq!(turns("S*: ."), [Turn::Until(".".into())]);
    let with = parse("test", "> with: tls remote\nX: tls");
    assert_eq!((with.stage, with.with.join(" ")), (Stage::Bare, "tls remote".to_owned()));
    let bare = parse("test", "> bare: the reason\nX: silence");
    assert_eq!((bare.stage, bare.falls_silent()), (Stage::Bare, true));
}
