//! What the targets share. Each target states what must hold for every input; what is here makes inputs
//! readable, and says a second time, in the plainest way, what the program has to do.

pub mod letter;
pub mod replies;
pub mod script;

/// Takes sizes of pieces off the front of an input: an octet that says how many there are (up to
/// seven), then the sizes. Returns them, and the rest.
#[must_use]
pub fn sizes(data: &[u8]) -> (&[u8], &[u8]) {
    match data.split_first() {
        Some((count, rest)) => rest.split_at(usize::from(count % 8).min(rest.len())),
        None => (data, data),
    }
}

/// The stream in pieces of these sizes, over and over; octet by octet where there are none.
pub fn pieces<'a>(stream: &'a [u8], sizes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut sizes = if sizes.is_empty() { &[1][..] } else { sizes }.iter().cycle();
    let mut rest = stream;
    std::iter::from_fn(move || {
        let size = usize::from(*sizes.next()?).clamp(1, rest.len().max(1));
        let (piece, later) = rest.split_at_checked(size)?;
        rest = later;
        Some(piece)
    })
}
