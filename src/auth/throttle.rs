//! How long a failed login is kept waiting: the longer, the more of them there were; and from when
//! on an address is not listened to any more.
//!
//! Pure: the time is an argument. Failures are counted for each connection and for each network
//! address, the larger of the two decides; those of an IPv6 site as well. Within a connection each
//! failure waits longer than the one before, also when its address has reached the longest delay.
//! Addresses are forgotten, the one that failed longest ago first, so that nobody can make the memory
//! grow; their failures fade by themselves. A success clears nothing: whoever guesses may have an account
//! too. Loopback and unix sockets are kept waiting but never blocked.

use crate::mail::peer::Origin;
use lru::LruCache;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

/// The delay after a first failure; each further one doubles it.
const DELAY_FIRST: Duration = Duration::from_millis(500);
/// The longest delay of a failure that is the first of its connection.
const DELAY_MAX: Duration = Duration::from_secs(8);
/// So much longer than that waits each further one of the same connection, and so many count at most.
const DELAY_STEP: Duration = Duration::from_millis(500);
const STEPS_MAX: u32 = 16;
/// In this time the failures of an address become half as many.
const HALF_LIFE: Duration = Duration::from_secs(2 * 60);
/// More failures are not counted than this many times those that block, so that every address is
/// forgiven in a while.
const COUNTED_MAX: u32 = 6;
/// So many failures of an address, less what has faded, and it is blocked. A mail program with an
/// old password that asks every minute stays below it.
const FAILURES_BLOCK: u32 = 10;
/// The same for all addresses of an IPv6 site: who has one has 65,536 networks to guess from.
const FAILURES_BLOCK_SITE: u32 = 100;
/// How long an address is blocked. Its tries meanwhile are not counted.
pub const BLOCKED_FOR: Duration = Duration::from_secs(15 * 60);
/// How many addresses are remembered, and how many can be blocked at the same time.
const ADDRESSES_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);

/// The failures of late.
#[derive(Debug)]
pub struct Throttle {
    origins: LruCache<Origin, Failures>,
    /// Until when; oldest last, because none is moved once it is in.
    blocked: LruCache<Origin, Instant>,
}

/// What a failure leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consequence {
    /// How long its answer is kept back.
    pub delay: Duration,
    /// The origin that is blocked from now on.
    pub blocked: Option<Origin>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    /// Up to when they have faded.
    at: Instant,
}

impl Failures {
    fn one_more(&mut self, now: Instant, blocks: u32) -> u32 {
        while self.count > 0 && now.saturating_duration_since(self.at) >= HALF_LIFE {
            self.count /= 2;
            self.at += HALF_LIFE;
        }
        if self.count == 0 {
            self.at = now;
        }
        self.count = (self.count + 1).min(COUNTED_MAX * blocks);
        self.count
    }
}

impl Throttle {
    /// Nothing has failed yet.
    #[must_use]
    pub fn new() -> Throttle {
        Throttle { origins: LruCache::new(ADDRESSES_MAX), blocked: LruCache::new(ADDRESSES_MAX) }
    }

    /// Whether nothing from `ip` is listened to.
    #[must_use]
    pub fn is_blocked(&self, ip: Option<IpAddr>, now: Instant) -> bool {
        let Some(ip) = ip else { return false };
        let mut origins = [Some(Origin::of(ip)), Origin::site_of(ip)].into_iter().flatten();
        origins.any(|origin| self.blocked.peek(&origin).is_some_and(|until| now < *until))
    }

    /// Takes out those whose time is over, for the log.
    pub fn released(&mut self, now: Instant) -> Vec<Origin> {
        let mut released = Vec::new();
        while self.blocked.peek_lru().is_some_and(|(_, until)| now >= *until) {
            released.extend(self.blocked.pop_lru().map(|(origin, _)| origin));
        }
        released
    }

    /// Notes a failure and says what follows. `ip` is `None` over a unix socket, where only
    /// `failures_before` in the same connection count.
    pub fn failed(&mut self, ip: Option<IpAddr>, failures_before: u32, now: Instant) -> Consequence {
        let of_connection = failures_before.saturating_add(1);
        let Some(ip) = ip else {
            return Consequence { delay: delay(of_connection, failures_before), blocked: None };
        };
        let of_site = Origin::site_of(ip).map(|site| self.count(site, FAILURES_BLOCK_SITE, now));
        let (of_address, address) = self.count(Origin::of(ip), FAILURES_BLOCK, now);
        let delay = delay(of_connection.max(of_address), failures_before);
        let site = of_site.and_then(|(_, site)| site);
        // The larger network says more.
        let blocked = site.or(address).filter(|_| !ip.to_canonical().is_loopback());
        if let Some(origin) = blocked {
            // Those that failed in parallel find it blocked already; it begins anew afterwards.
            self.origins.pop(&origin);
            self.blocked.put(origin, now + BLOCKED_FOR);
        }
        Consequence { delay, blocked }
    }

    /// One failure more of `origin`: how many there are, and the origin when they are `blocks` at least.
    fn count(&mut self, origin: Origin, blocks: u32, now: Instant) -> (u32, Option<Origin>) {
        let none = || Failures { count: 0, at: now };
        let failures = self.origins.get_or_insert_mut(origin, none).one_more(now, blocks);
        (failures, (failures >= blocks).then_some(origin))
    }
}

impl Default for Throttle {
    fn default() -> Throttle {
        Throttle::new()
    }
}

fn delay(failures: u32, before_in_connection: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    match DELAY_FIRST.saturating_mul(1 << doublings) {
        delay if delay < DELAY_MAX => delay,
        _ => DELAY_MAX + DELAY_STEP * before_in_connection.min(STEPS_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn each_failure_of_a_connection_waits_longer() {
        let mut throttle = Throttle::new();
        let now = Instant::now();
        let waits =
            [0, 1, 2, 3, 4, 5, u32::MAX].map(|before| throttle.failed(None, before, now).delay.as_millis());
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 10_000, 10_500, 16_000]);
    }

    #[test]
    fn each_failure_of_a_connection_waits_longer_also_from_an_address_that_has_failed_much() {
        for failures_of_address in 0..10 {
            let mut throttle = Throttle::new();
            let now = Instant::now();
            for _ in 0..failures_of_address {
                throttle.failed(ip("127.0.0.1"), 0, now);
            }
            let waits = [0, 1, 2].map(|before| throttle.failed(ip("127.0.0.1"), before, now).delay);
            assert!(waits.is_sorted_by(|a, b| a < b), "after {failures_of_address}: {waits:?}");
        }
    }

    #[test]
    fn a_new_connection_does_not_begin_again() {
        let mut throttle = Throttle::new();
        let now = Instant::now();
        let waits = [0; 6].map(|before| throttle.failed(ip("192.0.2.1"), before, now).delay.as_millis());
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 8_000]);
        assert_eq!(throttle.failed(ip("192.0.2.2"), 0, now).delay, DELAY_FIRST);
        assert_eq!(throttle.failed(None, 0, now).delay, DELAY_FIRST);
    }

    #[test]
    fn failures_fade_by_half_every_two_minutes() {
        let mut throttle = Throttle::new();
        let start = Instant::now();
        for _ in 0..4 {
            throttle.failed(ip("192.0.2.1"), 0, start);
        }
        // 4 failures are 2 after two minutes, and the new one makes them 3.
        assert_eq!(throttle.failed(ip("192.0.2.1"), 0, after(start, 120)).delay.as_millis(), 2_000);
        // 3 are 1 after two more minutes.
        assert_eq!(throttle.failed(ip("192.0.2.1"), 0, after(start, 359)).delay.as_millis(), 1_000);
        assert_eq!(throttle.failed(ip("192.0.2.1"), 0, after(start, 86_400)).delay, DELAY_FIRST);
    }

    #[test]
    fn the_busiest_guesser_is_forgiven_in_a_quarter_of_an_hour() {
        let mut throttle = Throttle::new();
        let start = Instant::now();
        for _ in 0..100_000 {
            throttle.failed(ip("192.0.2.1"), 0, start);
        }
        assert_eq!(throttle.failed(ip("192.0.2.1"), 0, after(start, 15 * 60)).delay, DELAY_FIRST);
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_is_no_fault() {
        let mut throttle = Throttle::new();
        let start = after(Instant::now(), 1_000);
        throttle.failed(ip("192.0.2.1"), 0, start);
        let before = start.checked_sub(Duration::from_secs(500)).unwrap();
        assert_eq!(throttle.failed(ip("192.0.2.1"), 0, before).delay.as_millis(), 1_000);
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
            assert_eq!(throttle.failed(ip(text), 0, now).delay.as_millis(), millis, "{text}");
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

    fn guess(throttle: &mut Throttle, times: u32, from: &str, now: Instant) -> Option<Origin> {
        (0..times).filter_map(|_| throttle.failed(ip(from), 0, now).blocked).last()
    }

    #[test]
    fn the_tenth_failure_blocks_an_address_for_a_quarter_of_an_hour() {
        let mut throttle = Throttle::new();
        let start = Instant::now();
        assert_eq!(guess(&mut throttle, 9, "192.0.2.1", start), None);
        assert!(!throttle.is_blocked(ip("192.0.2.1"), start));
        let blocked = guess(&mut throttle, 1, "192.0.2.1", start).expect("it is blocked");
        assert_eq!(blocked.to_string(), "192.0.2.1");
        for (from, seconds, is) in [
            ("192.0.2.1", 0, true),
            ("::ffff:192.0.2.1", 1, true),
            ("192.0.2.2", 1, false),
            ("192.0.2.1", 899, true),
            ("192.0.2.1", 900, false),
        ] {
            assert_eq!(throttle.is_blocked(ip(from), after(start, seconds)), is, "{from} {seconds}");
        }
        assert!(!throttle.is_blocked(None, start));
        assert_eq!(throttle.released(after(start, 899)), []);
        assert_eq!(throttle.released(after(start, 900)), [blocked]);
        assert_eq!(throttle.released(after(start, 901)), [], "it is told once");
        assert_eq!(guess(&mut throttle, 9, "192.0.2.1", after(start, 900)), None, "it begins anew");
        assert!(guess(&mut throttle, 1, "192.0.2.1", after(start, 900)).is_some());
    }

    #[test]
    fn a_program_with_an_old_password_that_asks_every_minute_is_not_blocked() {
        let mut throttle = Throttle::new();
        let start = Instant::now();
        for minute in 0..600 {
            let now = after(start, 60 * minute);
            assert_eq!(guess(&mut throttle, 1, "192.0.2.1", now), None, "minute {minute}");
        }
    }

    #[test]
    fn an_ipv6_network_is_blocked_as_one() {
        let mut throttle = Throttle::new();
        let now = Instant::now();
        guess(&mut throttle, 5, "2001:db8:0:1::1", now);
        let blocked = guess(&mut throttle, 5, "2001:db8:0:1:ffff::2", now).expect("it is blocked");
        assert_eq!(blocked.to_string(), "2001:db8:0:1::/64");
        assert!(throttle.is_blocked(ip("2001:db8:0:1:9::9"), now));
        assert!(!throttle.is_blocked(ip("2001:db8:0:2::1"), now));
    }

    #[test]
    fn who_guesses_from_many_networks_of_a_site_is_blocked_as_a_site() {
        let mut throttle = Throttle::new();
        let start = Instant::now();
        let mut blocked = None;
        for n in 0..100 {
            assert_eq!(blocked, None, "after {n}");
            blocked = guess(&mut throttle, 1, &format!("2001:db8:7:{n:x}::1"), start);
        }
        assert_eq!(blocked.expect("it is blocked").to_string(), "2001:db8:7::/48");
        assert!(throttle.is_blocked(ip("2001:db8:7:ffff::1"), start));
        assert!(!throttle.is_blocked(ip("2001:db8:8::1"), start));
        assert!(!throttle.is_blocked(ip("2001:db8:7:ffff::1"), start + BLOCKED_FOR));
        assert_eq!(throttle.released(start + BLOCKED_FOR).len(), 1);
    }

    #[test]
    fn this_host_is_never_blocked() {
        let mut throttle = Throttle::new();
        let now = Instant::now();
        for from in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(guess(&mut throttle, 100, from, now), None, "{from}");
            assert!(!throttle.is_blocked(ip(from), now));
        }
        for _ in 0..100 {
            assert_eq!(throttle.failed(None, 100, now).blocked, None);
        }
    }

    #[test]
    fn a_flood_of_blocked_addresses_takes_no_more_memory_and_all_are_released() {
        let mut throttle = Throttle::new();
        let now = Instant::now();
        for n in 0..12_000 {
            let from = Ipv4Addr::from_bits(0x0a00_0000 + n).to_string();
            guess(&mut throttle, 10, &from, now);
        }
        assert_eq!(throttle.blocked.len(), ADDRESSES_MAX.get());
        assert_eq!(throttle.released(now + BLOCKED_FOR).len(), ADDRESSES_MAX.get());
    }
}
