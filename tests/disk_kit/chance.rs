//! Chance that can be repeated: a seed, printed, decides everything.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// A small generator (splitmix64); good enough to choose what breaks.
#[derive(Clone, Debug)]
pub(crate) struct Chance {
    state: u64,
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance { state: seed }
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound as u64) as usize
    }

    /// True in so many of a hundred cases.
    pub(crate) fn percent(&mut self, often: usize) -> bool {
        self.below(100) < often
    }
}

/// `PILLARBOX_SEED`, or one of the clock; printed, so that what failed can be run again.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("PILLARBOX_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        since.as_nanos() as u64 % 1_000_000_007
    });
    drop(writeln!(std::io::stderr(), "PILLARBOX_SEED={seed}"));
    seed
}

/// How often to try: the variable, or what the short form does.
pub(crate) fn tries(variable: &str, short: usize) -> usize {
    std::env::var(variable).ok().and_then(|tries| tries.parse().ok()).unwrap_or(short)
}
