//! What a power cut leaves. Everything that was synced before the cut is there; of the rest each
//! sector of 512 octets, each size of a file and each name in a directory is as it was at the last
//! sync or at any moment since, by chance.
//!
//! A name counts as synced when its directory was, as POSIX has it. Most file systems are kinder.

use super::chance::Chance;
use super::log::{Event, Log};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// What a disk writes at once.
const SECTOR_OCTETS: usize = 512;

/// What becomes of that which was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing of it is there.
    Nothing,
    /// All of it is.
    All,
    /// What was done before some moment.
    Beginning,
    /// Some operations, each whole.
    Some,
    /// Each sector as it was at a moment of its own: torn and reordered.
    Sectors,
    /// The same, and what is missing of a write may be noise.
    Noise,
}

impl Rest {
    pub(crate) fn any(chance: &mut Chance) -> Rest {
        match chance.below(10) {
            0 | 1 => Rest::Nothing,
            2 => Rest::All,
            3 => Rest::Beginning,
            4 | 5 => Rest::Some,
            6 | 7 => Rest::Sectors,
            _ => Rest::Noise,
        }
    }
}

/// Which syncs the disk keeps its word on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Honesty {
    Honest,
    /// It says that it has synced and has not.
    Lying,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(usize),
    Directory,
}

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, from: usize, to: usize },
    Resize(usize),
}

/// A file, apart from its names.
#[derive(Debug, Default)]
struct Object {
    synced: Vec<u8>,
    /// What came since, with the number of its event.
    since: Vec<(usize, Change)>,
}

#[derive(Debug, Default)]
struct Name {
    synced: Option<Node>,
    since: Vec<(usize, Option<Node>)>,
}

impl Name {
    fn latest(&self) -> Option<Node> {
        self.since.last().map_or(self.synced, |(_, node)| *node)
    }
}

/// A disk at one moment of its log.
#[derive(Debug)]
pub(crate) struct Platter<'a> {
    log: &'a Log,
    honesty: Honesty,
    /// Events up to here have happened.
    next: usize,
    root: String,
    objects: Vec<Object>,
    by_inode: HashMap<u64, usize>,
    directories: HashMap<u64, String>,
    names: BTreeMap<String, Name>,
    /// Syncs under way: whose, and the event with which they began.
    syncing: HashMap<u64, (u64, usize)>,
}

/// The files of a state, by their paths below the root, and its directories.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) directories: Vec<String>,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

impl State {
    pub(crate) fn write_below(&self, dir: &Path) {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        for path in &self.directories {
            std::fs::DirBuilder::new().mode(0o700).create(dir.join(path)).expect("a directory");
        }
        for (path, octets) in &self.files {
            let mut options = std::fs::File::options();
            let file = options.write(true).create_new(true).mode(0o600).open(dir.join(path));
            file.and_then(|mut file| std::io::Write::write_all(&mut file, octets)).expect("a file");
        }
    }
}

impl<'a> Platter<'a> {
    pub(crate) fn new(log: &'a Log, honesty: Honesty) -> Platter<'a> {
        Platter {
            log,
            honesty,
            next: 0,
            root: String::new(),
            objects: Vec::new(),
            by_inode: HashMap::new(),
            directories: HashMap::new(),
            names: BTreeMap::new(),
            syncing: HashMap::new(),
        }
    }

    /// Goes on to where the log was so long. Moments only go forward.
    pub(crate) fn advance(&mut self, moment: u64) {
        while let Some((end, event)) = self.log.events.get(self.next)
            && *end <= moment
        {
            self.apply(event);
            self.next += 1;
        }
    }

    fn apply(&mut self, event: &Event) {
        let now = self.next;
        match event {
            Event::Root { inode, path } => {
                path.clone_into(&mut self.root);
                self.directories.insert(*inode, path.clone());
            }
            Event::Create { inode, path } => {
                self.objects.push(Object::default());
                let object = self.objects.len() - 1;
                self.by_inode.insert(*inode, object);
                self.name(path, Some(Node::File(object)));
            }
            Event::MakeDirectory { inode, path } => {
                self.directories.insert(*inode, path.clone());
                self.name(path, Some(Node::Directory));
            }
            Event::Write { inode, at, data } => {
                let change = Change::Write { at: *at, from: data.start, to: data.end };
                self.object(*inode).since.push((now, change));
            }
            Event::Truncate { inode, octets } => {
                self.object(*inode).since.push((now, Change::Resize(*octets)));
            }
            Event::Remove { path } => self.name(path, None),
            Event::Rename { from, to } => {
                let node = self.names.get(from).and_then(Name::latest);
                self.name(from, None);
                self.name(to, node);
            }
            Event::SyncBegin { inode, number } => drop(self.syncing.insert(*number, (*inode, now))),
            Event::SyncEnd { number } => {
                let (inode, began) = self.syncing.remove(number).expect("a sync begins before it ends");
                if self.honesty == Honesty::Honest {
                    self.sync(inode, began);
                }
            }
        }
    }

    fn object(&mut self, inode: u64) -> &mut Object {
        let object = self.by_inode.get(&inode).expect("a file is created before it is written");
        &mut self.objects[*object]
    }

    fn name(&mut self, path: &str, node: Option<Node>) {
        let now = self.next;
        self.names.entry(path.to_owned()).or_default().since.push((now, node));
    }

    /// What was done to this file or directory before the event `began` stays.
    fn sync(&mut self, inode: u64, began: usize) {
        let Some(directory) = self.directories.get(&inode) else {
            let Some(object) = self.by_inode.get(&inode) else { return };
            let object = &mut self.objects[*object];
            let later = object.since.partition_point(|(event, _)| *event < began);
            for (_, change) in object.since.drain(..later) {
                change_all(&mut object.synced, &change, &self.log.octets);
            }
            return;
        };
        for (path, name) in &mut self.names {
            if path.rsplit_once('/').is_some_and(|(parent, _)| parent == directory) {
                let later = name.since.partition_point(|(event, _)| *event < began);
                name.synced = name.since.drain(..later).next_back().map_or(name.synced, |(_, node)| node);
            }
        }
    }

    /// What is there if the power is cut now.
    pub(crate) fn cut(&self, rest: Rest, chance: &mut Chance) -> State {
        let first = self.first_unsynced();
        let until = first + chance.below(self.next - first + 1);
        let mut state = State::default();
        for (path, name) in &self.names {
            let versions = name.since.len();
            let kept = match rest {
                Rest::Nothing => 0,
                Rest::All => versions,
                Rest::Beginning => name.since.partition_point(|(event, _)| *event < until),
                Rest::Some | Rest::Sectors | Rest::Noise => chance.below(versions + 1),
            };
            let node = kept.checked_sub(1).map_or(name.synced, |at| name.since[at].1);
            let below = &path[self.root.len() + 1..];
            let parent = below.rsplit_once('/').map(|(parent, _)| parent.to_owned());
            if parent.is_some_and(|parent| !state.directories.contains(&parent)) {
                continue;
            }
            match node {
                None => {}
                Some(Node::Directory) => state.directories.push(below.to_owned()),
                Some(Node::File(object)) => {
                    let octets = self.content(&self.objects[object], rest, until, chance);
                    state.files.insert(below.to_owned(), octets);
                }
            }
        }
        state
    }

    fn first_unsynced(&self) -> usize {
        let files = self.objects.iter().filter_map(|object| object.since.first()).map(|(event, _)| *event);
        files.min().unwrap_or(self.next)
    }

    fn content(&self, object: &Object, rest: Rest, until: usize, chance: &mut Chance) -> Vec<u8> {
        let mut octets = object.synced.clone();
        let log = &self.log.octets;
        match rest {
            Rest::Nothing => {}
            Rest::All => object.since.iter().for_each(|(_, change)| change_all(&mut octets, change, log)),
            Rest::Beginning => {
                let since = object.since.iter().filter(|(event, _)| *event < until);
                since.for_each(|(_, change)| change_all(&mut octets, change, log));
            }
            Rest::Some => {
                let often = [10, 50, 90][chance.below(3)];
                for (_, change) in &object.since {
                    if chance.percent(often) {
                        change_all(&mut octets, change, log);
                    }
                }
            }
            Rest::Sectors | Rest::Noise => self.tear(&mut octets, object, rest, chance),
        }
        octets
    }

    /// Each sector stops changing at a moment of its own; so does the size.
    fn tear(&self, octets: &mut Vec<u8>, object: &Object, rest: Rest, chance: &mut Chance) {
        let changes = object.since.len();
        // Few sectors late, or most of them: both tell.
        let often = [10, 50, 90, 99][chance.below(4)];
        let mut stops: HashMap<usize, usize> = HashMap::new();
        for (number, (_, change)) in object.since.iter().enumerate() {
            let Change::Write { at, from, to } = *change else {
                if chance.percent(often) {
                    change_all(octets, change, &self.log.octets);
                }
                continue;
            };
            let mut place = at;
            while place < at + (to - from) {
                let end = (at + (to - from)).min((place / SECTOR_OCTETS + 1) * SECTOR_OCTETS);
                let stop = *stops
                    .entry(place / SECTOR_OCTETS)
                    .or_insert_with(|| if chance.percent(often) { changes } else { chance.below(changes) });
                let data = from + (place - at)..from + (end - at);
                if number < stop {
                    overwrite(octets, place, &self.log.octets[data]);
                } else if rest == Rest::Noise && chance.percent(50) {
                    let noise: Vec<u8> = data.map(|_| chance.number() as u8).collect();
                    overwrite(octets, place, &noise);
                }
                place = end;
            }
        }
    }

    /// What the files hold that have a name now; for a comparison with the real ones.
    pub(crate) fn present(&self) -> State {
        self.cut(Rest::All, &mut Chance::new(0))
    }
}

fn change_all(octets: &mut Vec<u8>, change: &Change, log: &[u8]) {
    match *change {
        Change::Resize(size) => octets.resize(size, 0),
        Change::Write { at, from, to } => overwrite(octets, at, &log[from..to]),
    }
}

fn overwrite(octets: &mut Vec<u8>, at: usize, data: &[u8]) {
    if octets.len() < at + data.len() {
        octets.resize(at + data.len(), 0);
    }
    octets[at..at + data.len()].copy_from_slice(data);
}
