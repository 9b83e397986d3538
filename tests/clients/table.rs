//! The table of clients and what they did, for people to read.
#![allow(clippy::print_stdout, reason = "a table for whoever asks with --nocapture")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;

static ROWS: Mutex<BTreeMap<String, Vec<String>>> = Mutex::new(BTreeMap::new());

/// Notes that `client` has done `operations`, and writes the table anew.
pub(crate) fn done(client: &str, version: &str, operations: &[&str]) {
    let mut rows = ROWS.lock().unwrap();
    let row = rows.entry(client.to_owned()).or_insert_with(|| vec![version.to_owned()]);
    row.extend(operations.iter().map(|&operation| operation.to_owned()));
    let mut text = String::from("| client | version | did, octets compared |\n| --- | --- | --- |\n");
    for (client, row) in rows.iter() {
        // Writing to a String does not fail.
        let _ = writeln!(text, "| {client} | {} | {} |", row[0], row[1..].join("; "));
    }
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/clients.txt");
    std::fs::write(path, &text).expect("the table can be written");
    if rows.len() == CLIENTS {
        println!("{text}");
    }
}

/// How many rows the whole table has.
const CLIENTS: usize = 13;
