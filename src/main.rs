//! The program `pillarbox`: everything is in the library.

fn main() {}
