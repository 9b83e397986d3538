//! What both protocols share: lines with a limit, dot transparency, the SASL exchange,
//! and who may log in over which connection.
//!
//! Pure: values in, values out, whatever the cut of the stream.

pub mod access;
pub mod dot;
pub mod line;
pub mod sasl;
