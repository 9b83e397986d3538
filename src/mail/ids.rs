//! Integers that cannot be mixed up, and the two ids that people see.
//!
//! A message has three names: its [`MessageId`] inside the store, its [`Uid`] towards POP3 clients,
//! and the [`QueueId`] of the transaction that brought it, which stands in the `250`, in the
//! `Received:` line and in the log.

use bytes::{BufMut, BytesMut};
use std::fmt;
use std::num::NonZeroU32;

/// Row id of a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MailboxId(pub i64);

/// Row id of one message in one mailbox. Never used again, not even after the message is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub i64);

/// Row id of a body, which several messages may share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BodyId(pub i64);

/// A random number drawn when a database is made, so that the ids of two databases never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Era(pub u32);

/// The unique-id of a message (RFC 1939 §7): 1 to 70 characters from 0x21 to 0x7E.
///
/// The era comes first: a client that kept the ids of a database that was thrown away must not
/// take the first messages of the new one for messages that it has already seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Uid {
    era: Era,
    id: MessageId,
}

impl Uid {
    /// The unique-id of message `id` in a database of `era`.
    #[must_use]
    pub const fn new(era: Era, id: MessageId) -> Uid {
        Uid { era, id }
    }

    /// Writes it as it is displayed, in a fraction of the time: a list has one a line.
    pub fn put(self, out: &mut BytesMut) {
        put_hexadecimal(u64::from(self.era.0), 8, out);
        out.put_u8(b'.');
        put_hexadecimal(self.id.0.cast_unsigned(), 1, out);
    }
}

/// Writes a number with `least` digits at least, of 16 at most.
fn put_hexadecimal(number: u64, least: usize, out: &mut BytesMut) {
    const DIGITS_MAX: usize = 16;
    let mut digits = [b'0'; DIGITS_MAX];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(rest % 16) as usize];
        rest /= 16;
    }
    let zeros = number.leading_zeros() as usize / 4;
    out.put_slice(&digits[zeros.min(DIGITS_MAX.saturating_sub(least))..]);
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}.{:x}", self.era.0, self.id.0)
    }
}

/// A message number of a POP3 session (RFC 1939 §5): counted from 1, fixed for the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MsgNo(NonZeroU32);

impl MsgNo {
    /// The number of the message at `index` (from 0) in a listing; `None` past 2^32 − 2.
    #[must_use]
    pub fn from_index(index: usize) -> Option<MsgNo> {
        u32::try_from(index).ok().and_then(|i| i.checked_add(1)).and_then(NonZeroU32::new).map(MsgNo)
    }

    /// Reads a number as RFC 1939 §3 writes it: decimal digits and nothing else, not zero.
    #[must_use]
    pub fn parse(digits: &[u8]) -> Option<MsgNo> {
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let n: u32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        NonZeroU32::new(n).map(MsgNo)
    }

    /// Position in a listing, from 0.
    #[must_use]
    pub fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

impl fmt::Display for MsgNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of one accepted message: 12 characters that are not mixed up when people copy them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueueId(u64);

impl QueueId {
    const ALPHABET: &'static [u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

    /// Makes an id of 60 of the 64 bits given; the caller draws them.
    #[must_use]
    pub const fn from_random(bits: u64) -> QueueId {
        QueueId(bits >> 4)
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; 12];
        for (i, slot) in text.iter_mut().enumerate() {
            *slot = QueueId::ALPHABET[((self.0 >> (5 * i)) & 31) as usize];
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn message_numbers_are_decimal_digits_and_start_at_one() {
        for good in ["1", "7", "4294967295", "0001"] {
            assert!(MsgNo::parse(good.as_bytes()).is_some(), "{good}");
        }
        for bad in ["", "0", "00", "-1", "+1", " 1", "1 ", "1.0", "x", "4294967296", "99999999999999999999"] {
            assert!(MsgNo::parse(bad.as_bytes()).is_none(), "{bad}");
        }
        assert_eq!(MsgNo::from_index(0).map(|n| n.to_string()), Some("1".into()));
        assert_eq!(MsgNo::parse(b"3").map(MsgNo::index), Some(2));
    }

    #[test]
    fn a_queue_id_is_twelve_plain_characters() {
        for bits in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
            let text = QueueId::from_random(bits).to_string();
            assert_eq!(text.len(), 12);
            assert!(text.bytes().all(|b| QueueId::ALPHABET.contains(&b)));
        }
    }

    #[test]
    fn a_unique_id_has_a_separator_and_fits_rfc_1939() {
        let text = Uid::new(Era(0x1f), MessageId(i64::MAX)).to_string();
        assert_eq!(text, "0000001f.7fffffffffffffff");
        assert!(text.len() <= 70 && text.bytes().all(|b| (0x21..=0x7e).contains(&b)));
    }

    proptest! {
        #[test]
        fn a_unique_id_is_put_as_it_is_displayed(era: u32, id in 0..i64::MAX, shift in 0..63_u32) {
            let uid = Uid::new(Era(era >> (shift / 2)), MessageId(id >> shift));
            let mut put = BytesMut::new();
            uid.put(&mut put);
            prop_assert_eq!(put, uid.to_string());
        }
    }
}
