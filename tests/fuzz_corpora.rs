//! The inputs of `fuzz/corpus`, each through the check of its target, without a fuzzer: what must hold
//! for every input holds for those that are known, after each change.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "a check stops at what does not hold; the targets are programs of their own elsewhere"
)]

// What the targets name: the crate that they are made with, and the one that they share.
extern crate self as libfuzzer_sys;
extern crate self as pillarbox_fuzz;

#[path = "../fuzz/src/lib.rs"]
mod shared;
pub(crate) use shared::*;

/// Makes a module of each target, and a table of them.
macro_rules! targets {
    ($($name:ident $path:literal,)*) => {
        $(#[path = $path] #[allow(unused_attributes, reason = "a target is a program of its own there")]
        mod $name;)*
        const TARGETS: &[(&str, fn(&[u8]))] = &[$((stringify!($name), $name::hold),)*];
    };
}

targets! {
    config "../fuzz/fuzz_targets/config.rs",
    dot "../fuzz/fuzz_targets/dot.rs",
    mail_parse "../fuzz/fuzz_targets/mail_parse.rs",
    pop3_codec "../fuzz/fuzz_targets/pop3_codec.rs",
    pop3_command "../fuzz/fuzz_targets/pop3_command.rs",
    pop3_session "../fuzz/fuzz_targets/pop3_session/main.rs",
    sasl "../fuzz/fuzz_targets/sasl.rs",
    smtp_codec "../fuzz/fuzz_targets/smtp_codec.rs",
    smtp_command "../fuzz/fuzz_targets/smtp_command.rs",
    smtp_session "../fuzz/fuzz_targets/smtp_session/main.rs",
}

/// The check of a target, as a function. Below the targets, which shall find it by its path.
#[macro_export]
macro_rules! fuzz_target {
    (|$input:ident: &[u8]| $check:block) => {
        pub(crate) fn hold($input: &[u8]) $check
    };
}

#[test]
fn what_must_hold_for_every_input_holds_for_those_that_are_kept() {
    let corpora = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut folders: Vec<String> = std::fs::read_dir(&corpora)
        .expect("the corpora")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("ASCII"))
        .collect();
    folders.sort_unstable();
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(folders, names, "a corpus for each target, and each of them here");
    for (name, check) in TARGETS {
        let mut inputs = 0;
        for entry in std::fs::read_dir(corpora.join(name)).expect("a corpus") {
            let path = entry.expect("an entry").path();
            let input = std::fs::read(&path).expect("an input");
            let held = std::panic::catch_unwind(|| check(&input));
            assert!(held.is_ok(), "{}: see above", path.display());
            inputs += 1;
        }
        assert!(inputs > 0, "{name} has no inputs");
    }
}
