//! Where the octets of a message go while it comes in: into memory while it is small and there is
//! room for it, from there in slices into the store.
//!
//! It also holds what a message must not do, and gives the verdict at its end. It moves no octet to
//! the store itself: [`Intake::take`] keeps, [`Intake::spill`] hands out what has to be written.

use super::budget::{Allowance, Budget, STEP_OCTETS, Share};
use crate::mail::body::Beginning;
use crate::mail::header::{HEADER_OCTETS_MAX, HOPS_MAX, HeaderScan};
use crate::store::outcome::Error;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

/// A message longer than this goes to the store in slices.
pub const MEMORY_OCTETS_MAX: usize = 256 * 1024;
/// Size of a slice.
pub const SLICE_OCTETS: usize = 128 * 1024;

/// Why a message that was read to its end is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// It is larger than [`super::role::Terms::message_octets_max`].
    TooBig,
    /// A CR or LF stood alone.
    BareNewline,
    /// Its header is larger than [`crate::mail::header::HEADER_OCTETS_MAX`].
    HeaderTooBig,
    /// It has gone through [`crate::mail::header::HOPS_MAX`] servers.
    Loop,
    /// It could not be staged.
    Store(Error),
}

/// A message on its way in.
#[derive(Debug)]
pub struct Intake {
    octets_max: u64,
    octets: u64,
    scan: HeaderScan,
    fault: Option<BodyFault>,
    place: Place,
    allowance: Allowance,
    /// Full slices.
    slices: VecDeque<Bytes>,
    /// The slice that grows.
    tail: BytesMut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Memory,
    /// Slices leave as soon as they are full.
    Store,
}

/// What [`Intake::finish`] leaves to do.
#[derive(Debug)]
pub enum Kept {
    /// All of the message, and its share of the budget until it is delivered.
    Memory(Vec<Bytes>, Share),
    /// The last octets of a message whose others were spilt.
    Store(Vec<Bytes>),
}

impl Intake {
    /// A message of at most `octets_max` octets.
    #[must_use]
    pub fn new(octets_max: u64, budget: Arc<Budget>) -> Intake {
        Intake {
            octets_max,
            octets: 0,
            scan: HeaderScan::default(),
            fault: None,
            place: Place::Memory,
            allowance: Allowance::new(budget),
            slices: VecDeque::new(),
            tail: BytesMut::new(),
        }
    }

    /// Why the message will be refused, as far as can be told.
    #[must_use]
    pub fn fault(&self) -> Option<&BodyFault> {
        self.fault.as_ref()
    }

    /// How the message begins, when all of it was taken.
    #[must_use]
    pub fn beginning(&self) -> Beginning {
        self.scan.beginning()
    }

    /// The message will be refused. The rest of it is read and thrown away.
    pub fn refuse(&mut self, fault: BodyFault) {
        self.fault.get_or_insert(fault);
        self.slices = VecDeque::new();
        self.tail = BytesMut::new();
        self.allowance.shrink(STEP_OCTETS);
    }

    /// Takes the next octets. Call [`Intake::spill`] after it until that gives nothing more.
    pub fn take(&mut self, mut octets: &[u8]) {
        if self.fault.is_some() {
            return;
        }
        self.octets = self.octets.saturating_add(octets.len() as u64);
        self.scan.feed(octets);
        if let Some(fault) = self.verdict() {
            return self.refuse(fault);
        }
        while !octets.is_empty() {
            let room = SLICE_OCTETS - self.tail.len();
            let (now, later) = octets.split_at(room.min(octets.len()));
            self.make_room(now.len());
            self.tail.extend_from_slice(now);
            if self.tail.len() == SLICE_OCTETS {
                self.slices.push_back(mem::take(&mut self.tail).freeze());
            }
            octets = later;
        }
        let held = self.slices.len() * SLICE_OCTETS + self.tail.len();
        if self.place == Place::Memory && (held > MEMORY_OCTETS_MAX || !self.allowance.reach(held)) {
            self.place = Place::Store;
        }
    }

    /// Makes the tail larger: twice what it must be where the budget allows that, else by a step. Left to
    /// itself it would double without asking.
    fn make_room(&mut self, octets: usize) {
        let wanted = self.tail.len() + octets;
        if self.tail.capacity() < wanted {
            let step = wanted.next_multiple_of(STEP_OCTETS);
            let twice = (2 * step).min(SLICE_OCTETS);
            let doubles =
                step > STEP_OCTETS && self.allowance.reach(self.slices.len() * SLICE_OCTETS + twice);
            let mut tail = BytesMut::with_capacity(if doubles { twice } else { step });
            tail.extend_from_slice(&self.tail);
            self.tail = tail;
        }
    }

    /// The next slice that has to go to the store.
    pub fn spill(&mut self) -> Option<Bytes> {
        if self.place == Place::Memory {
            return None;
        }
        if let Some(slice) = self.slices.pop_front() {
            return Some(slice);
        }
        self.allowance.shrink(SLICE_OCTETS);
        // Larger slices are cheaper to keep, but they are held in memory until they are full.
        let full = self.tail.len() >= STEP_OCTETS && !self.allowance.reach(self.tail.len() + STEP_OCTETS);
        full.then(|| mem::take(&mut self.tail).freeze())
    }

    /// Ends the message.
    ///
    /// # Errors
    /// Why it is refused, as a [`BodyFault`].
    pub fn finish(mut self) -> Result<Kept, BodyFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if !self.tail.is_empty() {
            self.slices.push_back(mem::take(&mut self.tail).freeze());
        }
        let slices = self.slices.into();
        Ok(match self.place {
            Place::Memory => Kept::Memory(slices, self.allowance.into()),
            Place::Store => Kept::Store(slices),
        })
    }

    fn verdict(&self) -> Option<BodyFault> {
        // RFC 1870 §6.3: the size that comes counts, whatever was announced.
        if self.octets > self.octets_max {
            return Some(BodyFault::TooBig);
        }
        // RFC 5321 §6.3: a message that has gone through too many servers goes round in a circle.
        if self.scan.hops() >= HOPS_MAX {
            return Some(BodyFault::Loop);
        }
        (self.scan.octets() > HEADER_OCTETS_MAX).then_some(BodyFault::HeaderTooBig)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIG: u64 = 1 << 30;

    /// Takes `octets` in pieces of `piece`; the largest memory held, the slices spilt, the verdict.
    fn run(intake: &mut Intake, octets: &[u8], piece: usize) -> (usize, Vec<Bytes>) {
        let (mut held_max, mut spilt) = (0, Vec::new());
        for piece in octets.chunks(piece) {
            intake.take(piece);
            held_max = held_max.max(intake.slices.len() * SLICE_OCTETS + intake.tail.len());
            let steps = intake.tail.len().next_multiple_of(STEP_OCTETS);
            let allowed = intake.allowance.octets().saturating_sub(intake.slices.len() * SLICE_OCTETS);
            let capacity = intake.tail.capacity();
            assert!(capacity <= allowed.max(steps), "{capacity} where {allowed} are allowed");
            spilt.extend(std::iter::from_fn(|| intake.spill()));
        }
        (held_max, spilt)
    }

    fn text(octets: usize) -> Vec<u8> {
        b"\r\n".iter().copied().chain((0..).map(|n: u32| (n / 7) as u8)).take(octets).collect()
    }

    fn left(budget: &Budget) -> usize {
        budget.octets_left()
    }

    #[test]
    fn a_small_message_stays_in_memory_and_holds_its_share_until_it_is_delivered() {
        let budget = Budget::new(1 << 20);
        let mut intake = Intake::new(BIG, budget.clone());
        let text = text(100_000);
        assert_eq!(run(&mut intake, &text, 1_000).1, Vec::<Bytes>::new());
        let Ok(Kept::Memory(slices, share)) = intake.finish() else { panic!("it is small") };
        assert_eq!(slices.concat(), text);
        assert!(slices.iter().all(|slice| slice.len() <= SLICE_OCTETS));
        // What it has room for counts, not what it holds; a step is free.
        assert_eq!(left(&budget), (1 << 20) - (SLICE_OCTETS - STEP_OCTETS));
        drop(share);
        assert_eq!(left(&budget), 1 << 20);
    }

    #[test]
    fn a_large_message_is_spilt_whole_and_never_held_whole() {
        for (budget, piece) in
            [(1 << 20, 32 * 1024), (1 << 20, 999), (0, 32 * 1024), (0, 999), (40_000, 70_000)]
        {
            let budget = Budget::new(budget);
            let before = left(&budget);
            let mut intake = Intake::new(BIG, budget.clone());
            let text = text(1_500_000);
            let (held_max, mut spilt) = run(&mut intake, &text, piece);
            assert!(held_max <= MEMORY_OCTETS_MAX + piece, "{held_max}");
            if before == 0 {
                assert!(held_max <= STEP_OCTETS + piece, "{held_max}");
            }
            assert!(spilt.iter().all(|slice| (STEP_OCTETS..=SLICE_OCTETS).contains(&slice.len())));
            let Ok(Kept::Store(last)) = intake.finish() else { panic!("it is large") };
            spilt.extend(last);
            assert!(spilt.concat() == text, "in order and whole");
            assert_eq!(left(&budget), before);
        }
    }

    // proves: RFC 1870 §6.3
    #[test]
    fn a_message_may_be_as_large_as_the_limit_and_not_an_octet_larger() {
        for (octets, want) in [(1_000, None), (1_001, Some(BodyFault::TooBig))] {
            let budget = Budget::new(1 << 20);
            let mut intake = Intake::new(1_000, budget.clone());
            run(&mut intake, &text(octets), 77);
            assert_eq!(intake.fault(), want.as_ref());
            assert_eq!(intake.finish().err(), want);
            assert_eq!(left(&budget), 1 << 20);
        }
    }

    // proves: RFC 5321 §6.3
    #[test]
    fn a_message_in_a_circle_is_refused() {
        for (hops, want) in [(99, None), (100, Some(BodyFault::Loop))] {
            let mut intake = Intake::new(BIG, Budget::new(1 << 20));
            run(&mut intake, "Received: x\r\n".repeat(hops).as_bytes(), 10);
            assert_eq!(intake.finish().err(), want);
        }
    }

    #[test]
    fn a_header_of_more_than_a_mebibyte_is_refused_and_forgotten() {
        let mut intake = Intake::new(BIG, Budget::new(1 << 20));
        run(&mut intake, "X: y\r\n".repeat(200_000).as_bytes(), 10_000);
        assert_eq!(intake.fault(), Some(&BodyFault::HeaderTooBig));
        assert_eq!(intake.slices.len() + intake.tail.len(), 0);
    }

    #[test]
    fn the_first_fault_is_the_one_that_is_told() {
        let mut intake = Intake::new(10, Budget::new(0));
        intake.refuse(BodyFault::BareNewline);
        intake.take(&[b'x'; 11]);
        assert_eq!(intake.finish().err(), Some(BodyFault::BareNewline));
    }
}
