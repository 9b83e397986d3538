//! Numbers as text, for lists of many thousand lines: what formats anything takes several times as long as
//! the digits themselves.

use bytes::{BufMut, BytesMut};

/// As many as a number of 64 bits has at most, in the smallest radix used here.
const DIGITS_MAX: usize = 20;

/// Writes a number in decimal.
pub fn put_decimal(number: u64, out: &mut BytesMut) {
    put::<10>(number, 1, out);
}

/// Writes a number in lower-case hexadecimal, with zeros in front if it has less than `least` digits.
pub fn put_hexadecimal(number: u64, least: usize, out: &mut BytesMut) {
    put::<16>(number, least, out);
}

fn put<const RADIX: u64>(number: u64, least: usize, out: &mut BytesMut) {
    let mut digits = [b'0'; DIGITS_MAX];
    let mut begin = DIGITS_MAX;
    let mut rest = number;
    while rest > 0 && begin > 0 {
        begin -= 1;
        digits[begin] = b"0123456789abcdef"[(rest % RADIX) as usize];
        rest /= RADIX;
    }
    let begin = begin.min(DIGITS_MAX.saturating_sub(least));
    out.put_slice(&digits[begin..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(put: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        put(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn check(number: u64) {
        assert_eq!(written(|out| put_decimal(number, out)), format!("{number}"));
        assert_eq!(written(|out| put_hexadecimal(number, 1, out)), format!("{number:x}"));
        assert_eq!(written(|out| put_hexadecimal(number, 8, out)), format!("{number:08x}"));
    }

    #[test]
    fn the_first_and_last_numbers_are_written_as_format_does() {
        for number in [0, 1, 9, 10, 15, 16, 99, 100, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            check(number);
        }
    }

    proptest! {
        #[test]
        fn numbers_are_written_as_format_does(number: u64, shift in 0..64_u32) {
            check(number >> shift);
        }
    }
}
