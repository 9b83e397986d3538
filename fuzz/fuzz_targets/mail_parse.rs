//! Any octets as a message to look at: what is shown of it is bounded, and fit for a terminal once it
//! went through the one way there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillarbox::cli::mime::{Digest, Extent, digest};
use pillarbox::cli::text;

/// The most attachments that are listed.
const ATTACHMENTS_MAX: usize = 1000;
/// How many octets are shown for each that came: a character of another alphabet takes three.
const GROWTH_MAX: usize = 4;

fn fit(shown: &str) {
    let line = text::one_line(shown);
    assert!(!line.chars().any(char::is_control), "{line:?}");
    let lines = text::lines(shown);
    assert!(!lines.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{lines:?}");
    assert!(text::cut(&line, 40).chars().count() <= 40);
}

fn bounded(digest: &Digest, octets: usize) {
    let Digest { date, from, to, cc, subject, text, attachments } = digest;
    for shown in [date, from, to, cc, subject, text].into_iter().flatten() {
        assert!(shown.len() <= octets * GROWTH_MAX + 64, "{} of {octets}", shown.len());
        fit(shown);
    }
    let attachments = attachments.as_deref().unwrap_or_default();
    assert!(attachments.len() <= ATTACHMENTS_MAX);
    for attachment in attachments {
        // Who decodes quoted-printable makes every line end alike, so that a LF may become a CRLF.
        assert!(attachment.octets <= octets * 2, "{attachment:?} of {octets}");
        fit(&attachment.kind);
        let name = attachment.name.as_deref().unwrap_or("a");
        assert!(!name.is_empty() && !name.contains(['/', '\\']) && name != "." && name != "..", "{name:?}");
        fit(name);
    }
}

fuzz_target!(|raw: &[u8]| {
    let whole = digest(raw.to_vec(), Extent::Whole);
    bounded(&whole, raw.len());
    let beginning = digest(raw.to_vec(), Extent::Beginning);
    bounded(&beginning, raw.len());
    assert_eq!(beginning.text, None);
    // A list of messages reads beginnings, a message that is shown is read whole; they have to agree.
    let head = |digest: &Digest| {
        let Digest { date, from, to, cc, subject, .. } = digest.clone();
        (date, from, to, cc, subject)
    };
    assert_eq!(head(&beginning), head(&whole));
});
