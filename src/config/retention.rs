//! The keys of `[retention]`: what is thrown away by itself.

use super::check::Check;
use super::fault::{Fault, quoted};
use super::keys::{self, Sample};
use super::place::At;
use super::units::{self, Size};
use super::{Limits, Mode, Retention};
use std::time::Duration;

/// What a mail catcher keeps when nobody says how much.
const OPEN_OCTETS_MAX: u64 = 1 << 30;

impl Check<'_> {
    pub(super) fn retention(
        &mut self,
        mode: Option<&At<Mode>>,
        limits: Option<&Limits>,
    ) -> Option<Retention> {
        let age = self.age_max();
        let messages = self.messages_max();
        let octets = self.octets_max(mode, limits);
        Some(Retention { age_max: age?, messages_max: messages?, octets_max: octets? })
    }

    fn age_max(&mut self) -> Option<Option<Duration>> {
        let At { value, place } = self.text(&keys::MAX_AGE)?;
        match units::age(&value) {
            Ok(age) => Some(age),
            Err(error) => {
                let sample = Sample::Text(&error.instead);
                self.faults.push(Fault::of_value(&place, &keys::MAX_AGE, &error.wrong, &sample));
                None
            }
        }
    }

    fn messages_max(&mut self) -> Option<Option<u64>> {
        let key = &keys::MAX_MESSAGES;
        let At { value, place } = self.text(key)?;
        if value.eq_ignore_ascii_case("off") {
            return Some(None);
        }
        match value.parse() {
            Ok(0) => self.fault(&place, key, "0 would keep no message at all (no limit is \"off\")"),
            Ok(messages) => Some(Some(messages)),
            Err(_) => self.fault(&place, key, format!("{} is not a number of messages", quoted(&value))),
        }
    }

    fn octets_max(&mut self, mode: Option<&At<Mode>>, limits: Option<&Limits>) -> Option<Option<u64>> {
        let key = &keys::TOTAL_SIZE;
        if self.raw.value(key).is_none() {
            return Some((mode?.value == Mode::Open).then_some(OPEN_OCTETS_MAX));
        }
        let Size::Octets(octets) = self.size(key)?.value else { return Some(None) };
        if limits.is_some_and(|limits| octets < limits.message_octets_max) {
            self.warnings.push(format!(
                "{} is less than {}: a message larger than it is thrown away as soon as it was taken",
                key.path,
                keys::MESSAGE_SIZE.path
            ));
        }
        Some(Some(octets))
    }
}
