//! How long a failed login is kept waiting: the longer, the more of them there were.
//!
//! Pure: the time is an argument. Failures are counted for each connection and for each network
//! address, the larger of the two decides. Addresses are forgotten, the one that failed longest
//! ago first, so that nobody can make the memory grow; their failures fade by themselves. A
//! success clears nothing: whoever guesses may have an account too.

use lru::LruCache;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

/// The delay after a first failure; each further one doubles it.
const DELAY_FIRST: Duration = Duration::from_millis(500);
/// The longest delay.
const DELAY_MAX: Duration = Duration::from_secs(8);
/// In this time the failures of an address become half as many.
const HALF_LIFE: Duration = Duration::from_secs(2 * 60);
/// More failures of an address are not counted, so that every address is forgiven in a while.
const FAILURES_MAX: u32 = 64;
/// How many addresses are remembered.
const ADDRESSES_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);

/// The failures of late.
#[derive(Debug)]
pub struct Throttle {
    origins: LruCache<Origin, Failures>,
}

/// Where failures are counted together. One customer has a whole /64 of IPv6 at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Origin {
    V4(Ipv4Addr),
    V6Net([u8; 8]),
}

impl Origin {
    fn of(ip: IpAddr) -> Origin {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Origin::V4(ip),
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                Origin::V6Net([a, b, c, d, e, f, g, h])
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    /// Up to when they have faded.
    at: Instant,
}

impl Failures {
    fn one_more(&mut self, now: Instant) -> u32 {
        while self.count > 0 && now.saturating_duration_since(self.at) >= HALF_LIFE {
            self.count /= 2;
            self.at += HALF_LIFE;
        }
        if self.count == 0 {
            self.at = now;
        }
        self.count = (self.count + 1).min(FAILURES_MAX);
        self.count
    }
}

impl Throttle {
    /// Nothing has failed yet.
    #[must_use]
    pub fn new() -> Throttle {
        Throttle { origins: LruCache::new(ADDRESSES_MAX) }
    }

    /// Notes a failure and says how long its answer is kept back. `ip` is `None` over a unix
    /// socket, where only `failures_before` in the same connection count.
    pub fn failed(&mut self, ip: Option<IpAddr>, failures_before: u32, now: Instant) -> Duration {
        let of_connection = failures_before.saturating_add(1);
        let of_address = ip.map_or(0, |ip| {
            let none = || Failures { count: 0, at: now };
            self.origins.get_or_insert_mut(Origin::of(ip), none).one_more(now)
        });
        delay(of_connection.max(of_address))
    }
}

impl Default for Throttle {
    fn default() -> Throttle {
        Throttle::new()
    }
}

fn delay(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    DELAY_FIRST.saturating_mul(1 << doublings).min(DELAY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn each_failure_of_a_connection_waits_longer_up_to_the_cap() {
        let mut throttle = Throttle::new();
        let now = Instant::now();
        let waits = [0, 1, 2, 3, 4, 5, u32::MAX].map(|before| throttle.failed(None, before, now).as_millis());
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
    }

    #[test]
    fn a_new_connection_does_not_begin_again() {
        let mut throttle = Throttle::new();
        let now = Instant::now();
        let waits = [0; 6].map(|before| throttle.failed(ip("192.0.2.1"), before, now).as_millis());
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 8_000]);
        assert_eq!(throttle.failed(ip("192.0.2.2"), 0, now), DELAY_FIRST);
        assert_eq!(throttle.failed(None, 0, now), DELAY_FIRST);
    }

    #[test]
    fn failures_fade_by_half_every_two_minutes() {
        let mut throttle = Throttle::new();
        let start = Instant::now();
        for _ in 0..4 {
            throttle.failed(ip("192.0.2.1"), 0, start);
        }
        // 4 failures are 2 after two minutes, and the new one makes them 3.
        assert_eq!(throttle.failed(ip("192.0.2.1"), 0, after(start, 120)).as_millis(), 2_000);
        // 3 are 1 after two more minutes.
        assert_eq!(throttle.failed(ip("192.0.2.1"), 0, after(start, 359)).as_millis(), 1_000);
        assert_eq!(throttle.failed(ip("192.0.2.1"), 0, after(start, 86_400)), DELAY_FIRST);
    }

    #[test]
    fn the_busiest_guesser_is_forgiven_in_a_quarter_of_an_hour() {
        let mut throttle = Throttle::new();
        let start = Instant::now();
        for _ in 0..100_000 {
            throttle.failed(ip("192.0.2.1"), 0, start);
        }
        assert_eq!(throttle.failed(ip("192.0.2.1"), 0, after(start, 15 * 60)), DELAY_FIRST);
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_is_no_fault() {
        let mut throttle = Throttle::new();
        let start = after(Instant::now(), 1_000);
        throttle.failed(ip("192.0.2.1"), 0, start);
        let before = start.checked_sub(Duration::from_secs(500)).unwrap();
        assert_eq!(throttle.failed(ip("192.0.2.1"), 0, before).as_millis(), 1_000);
    }

    #[test]
    fn an_ipv6_network_counts_as_one_and_mapped_ipv4_as_ipv4() {
        let mut throttle = Throttle::new();
        let now = Instant::now();
        for (text, millis) in [
            ("2001:db8:0:1::1", 500),
            ("2001:db8:0:1:ffff::2", 1_000),
            ("2001:db8:0:2::1", 500),
            ("192.0.2.1", 500),
            ("::ffff:192.0.2.1", 1_000),
        ] {
            assert_eq!(throttle.failed(ip(text), 0, now).as_millis(), millis, "{text}");
        }
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_memory() {
        let mut throttle = Throttle::new();
        let now = Instant::now();
        for n in 0..30_000 {
            throttle.failed(Some(IpAddr::V4(Ipv4Addr::from_bits(n))), 0, now);
        }
        assert_eq!(throttle.origins.len(), ADDRESSES_MAX.get());
    }
}
