//! Any text as a configuration file, and any variables: each fault is a sentence on one line, and what
//! is sound is the same configuration when it is written anew, as a file or as variables.
//!
//! The file comes first; after a line `---` there is a variable on each line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pillarbox::config::Config;
use pillarbox::config::check::check;
use pillarbox::config::fault::Fault;
use pillarbox::config::keys;
use pillarbox::config::place::Place;
use pillarbox::config::raw::{Item, Raw, Value};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

fn worded(fault: &Fault, lines: usize) {
    let text = fault.to_string();
    assert!(!fault.wrong.trim().is_empty() && !fault.instead.trim().is_empty(), "{text:?}");
    assert!(!text.contains('\n'), "one line: {text:?}");
    assert!(!text.chars().any(char::is_control), "nothing that a terminal obeys: {text:?}");
    if let Place::File { line: Some(line), .. } = &fault.place {
        assert!((1..=lines).contains(line), "line {line} of {lines}: {text:?}");
    }
}

fn read(file: &str, variables: &[(OsString, OsString)]) -> (Raw, Vec<Fault>) {
    let (mut raw, mut faults) = (Raw::default(), Vec::new());
    raw.read_file(Path::new("pillarbox.toml"), file, &mut faults);
    raw.read_environment(variables.iter().cloned(), &mut faults);
    (raw, faults)
}

/// A string of TOML.
fn string(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\u{:04X}", u32::from(c)),
        c => c.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

fn in_file(raw: &Raw) -> String {
    let line = |key: &keys::Key| {
        let value = match &raw.written(key)?.value {
            Value::Text(text) => string(text),
            Value::Count(n) => n.to_string(),
            Value::Flag(flag) => flag.to_string(),
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(|item| string(&item.text)).collect();
                format!("[{}]", items.join(", "))
            }
        };
        Some(format!("{} = {value}\n", key.path))
    };
    keys::ALL.iter().filter_map(line).collect()
}

/// `None` where a list or text holds what a variable has no form for.
fn in_variables(raw: &Raw) -> Option<Vec<(OsString, OsString)>> {
    let written = keys::ALL.iter().filter_map(|key| Some((key, &raw.written(key)?.value)));
    let plain = |items: &[Item]| {
        let fits = |item: &Item| !item.text.contains(',') && item.text.trim() == item.text;
        items.iter().all(fits) && !(items.len() == 1 && items[0].text.is_empty())
    };
    let variable = |(key, value): (&keys::Key, &Value)| {
        let text = match value {
            Value::Text(text) => text.clone(),
            Value::Count(n) => n.to_string(),
            Value::Flag(flag) => flag.to_string(),
            Value::List(items) if plain(items) => {
                items.iter().map(|item| item.text.as_str()).collect::<Vec<_>>().join(",")
            }
            Value::List(_) => return None,
        };
        Some((key.variable().into(), text.into()))
    };
    written.map(variable).collect()
}

fn same(config: &Config, file: &str, variables: &[(OsString, OsString)]) {
    let (raw, faults) = read(file, variables);
    assert_eq!(faults, [], "{file}");
    let mut again = check(&raw, None);
    // Where it is written is another place now.
    if let (Ok(Config { tls: Some(again), .. }), Some(tls)) = (&mut again, &config.tls) {
        again.places.clone_from(&tls.places);
    }
    assert_eq!(again.as_ref(), Ok(config), "{file}");
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let (file, environment) = text.split_once("\n---\n").unwrap_or((&text, ""));
    let variable = |line: &str| {
        let (name, value) = line.split_once('=')?;
        // A variable may hold what is no UTF-8.
        let value = value.replace('\u{fffd}', "\u{1}").into_bytes();
        let value = value.into_iter().map(|octet| if octet == 1 { 0xff } else { octet }).collect();
        Some((format!("{}{name}", keys::PREFIX).into(), OsString::from_vec(value)))
    };
    let variables: Vec<_> = environment.lines().filter_map(variable).collect();
    let (raw, faults) = read(file, &variables);
    let lines = file.matches('\n').count() + 1;
    faults.iter().for_each(|fault| worded(fault, lines));
    match check(&raw, None) {
        Err(faults) => {
            assert!(!faults.is_empty());
            faults.iter().for_each(|fault| worded(fault, lines));
        }
        Ok(config) => {
            assert!(config.warnings.iter().all(|warning| !warning.contains('\n')), "{:?}", config.warnings);
            same(&config, &in_file(&raw), &[]);
            if let Some(variables) = in_variables(&raw) {
                same(&config, "", &variables);
            }
        }
    }
});
