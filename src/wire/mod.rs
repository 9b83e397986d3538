//! Bytes that both protocols share: lines with a limit, dot transparency,
//! and the SASL exchange.
//!
//! Pure: values in, values out, whatever the cut of the stream.

pub mod access;
pub mod dot;
pub mod line;
pub mod sasl;
