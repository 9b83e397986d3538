//! Bytes that both protocols share: lines with a limit, and dot transparency.
//!
//! Pure: values in, values out, whatever the cut of the stream.

pub mod dot;
pub mod line;
