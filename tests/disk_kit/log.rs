//! The log of `disk.c`: what the program did to its disk, in order.

use std::ops::Range;

/// One thing that was done.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// The directory that all is below.
    Root {
        inode: u64,
        path: String,
    },
    Create {
        inode: u64,
        path: String,
    },
    /// `data` is a range of the log.
    Write {
        inode: u64,
        at: usize,
        data: Range<usize>,
    },
    Truncate {
        inode: u64,
        octets: usize,
    },
    SyncBegin {
        inode: u64,
        number: u64,
    },
    SyncEnd {
        number: u64,
    },
    /// Of a file or of a directory.
    Remove {
        path: String,
    },
    Rename {
        from: String,
        to: String,
    },
    MakeDirectory {
        inode: u64,
        path: String,
    },
}

/// All of it, with the place in the log at which each ends.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) octets: Vec<u8>,
    pub(crate) events: Vec<(u64, Event)>,
}

const MARK: u32 = 0x6b73_6964;
const HEAD_OCTETS: usize = 32;

impl Log {
    pub(crate) fn parse(octets: Vec<u8>) -> Log {
        let mut events = Vec::new();
        let mut at = 0;
        while at < octets.len() {
            let head = &octets[at..at + HEAD_OCTETS];
            let word = |from: usize| u32::from_ne_bytes(head[from..from + 4].try_into().expect("4"));
            let long = |from: usize| u64::from_ne_bytes(head[from..from + 8].try_into().expect("8"));
            assert_eq!(word(0), MARK, "the log of the disk is damaged at {at}");
            let data = at + HEAD_OCTETS..at + HEAD_OCTETS + long(24) as usize;
            let (inode, number) = (long(8), long(16));
            let path = || String::from_utf8(octets[data.clone()].to_vec()).expect("paths are UTF-8");
            let event = match word(4) {
                1 => Event::Create { inode, path: path() },
                2 => Event::Write { inode, at: number as usize, data: data.clone() },
                3 => Event::Truncate { inode, octets: number as usize },
                4 => Event::SyncBegin { inode, number },
                5 => Event::SyncEnd { number },
                6 | 9 => Event::Remove { path: path() },
                7 => {
                    let both = path();
                    let (from, to) = both.split_once('\n').expect("two paths");
                    Event::Rename { from: from.to_owned(), to: to.to_owned() }
                }
                8 => Event::MakeDirectory { inode, path: path() },
                10 => Event::Root { inode, path: path() },
                kind => panic!("the log of the disk has an unknown kind {kind} at {at}"),
            };
            at = data.end;
            events.push((at as u64, event));
        }
        Log { octets, events }
    }
}
