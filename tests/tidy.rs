//! The shape of the tree, held by the build: who may import whom, how long things may be, that the
//! two protocols mirror each other, and that each rule of an RFC that the code claims to keep has a
//! test. `UPDATE=1 cargo test --test tidy` rewrites `docs/conformance.md`.
//!
//! Each check is a function over file contents, so that it can be tried on contents that break it.
#![allow(clippy::expect_used, clippy::panic, reason = "a test stops at what it cannot do")]

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/files.rs"]
mod files;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/links.rs"]
mod links;
#[path = "tidy/marks.rs"]
mod marks;
#[path = "tidy/readme.rs"]
mod readme;
#[path = "tidy/sizes.rs"]
mod sizes;
#[path = "tidy/text.rs"]
mod text;

use files::{File, code, everything};
use std::collections::BTreeSet;
use std::path::Path;

/// Where code is.
const CODE: [&str; 4] = ["src", "tests", "benches", "fuzz"];

/// Fails with every finding, one a line.
fn none(what: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{what}:\n  {}", findings.join("\n  "));
}

#[test]
fn each_module_imports_what_its_layer_may() {
    let findings: Vec<String> = code(&["src"]).iter().flat_map(layers::check).collect();
    none("imports against the table of docs/architecture.md", &findings);
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    none("circles", &circles::check(&code(&["src"])));
}

#[test]
fn files_functions_and_lines_keep_their_budgets() {
    let findings: Vec<String> = code(&CODE).iter().flat_map(sizes::check).collect();
    none("too long", &findings);
}

#[test]
fn every_file_says_at_its_top_what_it_is_for() {
    let findings: Vec<String> = code(&CODE).iter().filter_map(files::lacks_purpose).collect();
    none("no `//!` at the top", &findings);
}

#[test]
fn nothing_is_left_to_be_done_in_a_comment() {
    let findings: Vec<String> = code(&CODE).iter().flat_map(files::leftovers).collect();
    none("finish it or write an issue", &findings);
}

#[test]
fn links_lead_somewhere_in_the_tree_and_in_the_package() {
    let all = everything();
    let files: BTreeSet<String> = all.iter().map(|file| file.path.clone()).collect();
    let documents: Vec<File> = all.iter().filter(|file| file.path.ends_with(".md")).cloned().collect();
    none("links", &links::broken(&documents, &files));
    let manifest = all.iter().find(|file| file.path == "Cargo.toml").expect("a manifest");
    let packaged = links::packaged(&manifest.text, &files);
    assert!(packaged.contains("README.md"), "{packaged:?}");
    let documents: Vec<File> =
        documents.into_iter().filter(|document| packaged.contains(&document.path)).collect();
    none("links, as they lie in the package", &links::broken(&documents, &packaged));
}

#[test]
fn smtp_and_pop3_have_the_same_files() {
    let findings = files::unmirrored(&code(&["src/smtp"]), &code(&["src/pop3"]));
    none("who knows one protocol must know the other", &findings);
}

#[test]
fn every_rule_of_an_rfc_that_the_code_claims_has_a_proof() {
    let findings = marks::collect(&files::marked()).gaps();
    none("marks and proofs must name the same section", &findings);
}

#[test]
fn the_table_of_conformance_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/conformance.md");
    let made = marks::collect(&files::marked()).table();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &made).expect("docs/conformance.md can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "docs/conformance.md is old: run UPDATE=1 cargo test --test tidy, and commit it");
}

#[test]
fn no_path_of_one_machine_stands_in_the_tree() {
    let findings: Vec<String> = everything().iter().flat_map(files::machine_paths).collect();
    none("a path that exists on one machine only", &findings);
}

#[test]
fn unsafe_code_is_forbidden_and_the_sample_configuration_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).expect("Cargo.toml");
    assert!(manifest.contains("\nunsafe_code = \"forbid\"\n"), "Cargo.toml must forbid unsafe code");
    for file in ["Cargo.lock", "config/pillarbox.toml", "LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(root.join(file).is_file(), "{file} is missing");
    }
}

#[test]
fn the_table_of_the_readme_tells_the_defaults_of_the_sample_configuration() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).expect("it is there");
    let findings = readme::differences(&read("README.md"), &read("config/pillarbox.toml"));
    none("README.md and config/pillarbox.toml say different things", &findings);
}

#[test]
fn image_and_package_are_of_this_version_and_both_ways_make_the_same_image() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let last_stage = |name: &str| {
        let text = std::fs::read_to_string(root.join(name)).expect("it is there");
        text.rfind("\nFROM ").map(|at| text[at..].to_owned()).expect("a stage")
    };
    let built = last_stage("Dockerfile");
    assert!(built.starts_with("\nFROM scratch\n"), "{built}");
    assert!(built == last_stage("packaging/docker/Dockerfile.prebuilt"), "the last stages differ");
    let version = concat!("ARG VERSION=", env!("CARGO_PKG_VERSION"));
    assert!(built.contains(version), "the image is labelled with another version");
    let changelog = std::fs::read_to_string(root.join("packaging/debian/changelog")).expect("it is there");
    let first = concat!("pillarbox (", env!("CARGO_PKG_VERSION"), "-1) ");
    assert!(changelog.starts_with(first), "packaging/debian/changelog begins with another version");
}

/// The checks are tried on files that break them: a check that finds nothing may be one that looks
/// nowhere.
mod self_test {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File::new(path, text)
    }

    #[test]
    fn a_forbidden_import_is_found_however_it_is_written() {
        let table = [
            ("src/smtp/session.rs", "use crate::pop3::reply::Reply;"),
            ("src/smtp/session.rs", "use crate::{mail::ids, pop3::{marks::Marks, reply}};"),
            ("src/smtp/session.rs", "fn a() { crate::store::Store::open(); }"),
            ("src/smtp/session.rs", "use super::super::store::Store;"),
            ("src/smtp/session.rs", "use tokio::time::sleep;"),
            ("src/smtp/session.rs", "fn a() { let now = std::time::Instant::now(); }"),
            ("src/smtp/session.rs", "use std::time::SystemTime;\nfn a() { SystemTime::now(); }"),
            ("src/smtp/session.rs", "use std::{fmt, net::{IpAddr, TcpStream}};"),
            ("src/smtp/session.rs", "use super::server;"),
            ("src/smtp/server.rs", "use crate::pop3::server;"),
            ("src/smtp/codec.rs", "use tokio_util::sync::CancellationToken;"),
            ("src/pop3/command.rs", "fn a() { tokio::spawn(async {}); }"),
            ("src/mail/address.rs", "use crate::wire::line::Line;"),
            ("src/mail/address.rs", "use tracing::info;"),
            ("src/store/mod.rs", "use crate::config::Config;"),
            ("src/store/mod.rs", "use crate::auth::Auth;"),
            ("src/store/writer.rs", "fn a() -> sqlx::Result<()> { Ok(()) }"),
            ("src/net/conn.rs", "use crate::store::Store;"),
            ("src/auth/mod.rs", "use crate::smtp::reply::Reply;"),
            ("src/config/mod.rs", "use crate::serve;"),
            ("src/smtp/server.rs", "use mail_parser::MessageParser;"),
            ("src/store/writer.rs", "fn a() { mail_parser::MessageParser::new(); }"),
        ];
        for (path, text) in table {
            assert_ne!(layers::check(&file(path, text)), Vec::<String>::new(), "{path}: {text}");
        }
    }

    #[test]
    fn a_circle_of_files_is_found_and_a_room_with_its_own_files_is_none() {
        let circle = [
            file("src/wire/line.rs", "use super::dot::Dot;\nuse crate::mail::body::Body;"),
            file("src/wire/dot.rs", "fn a() { crate::wire::access::open(); }"),
            file("src/wire/access.rs", "use super::line::{self, Line};"),
            file("src/mail/body.rs", ""),
        ];
        assert_eq!(circles::check(&circle).len(), 3, "{:?}", circles::check(&circle));
        assert_eq!(circles::check(&circle[1..]), Vec::<String>::new());
        let room = [
            file("src/wire/mod.rs", "mod line;\nuse line::Line;\npub struct Wire;"),
            file("src/wire/line.rs", "use super::Wire;"),
        ];
        assert_eq!(circles::check(&room), Vec::<String>::new());
    }

    #[test]
    fn an_allowed_import_is_left_alone() {
        let table = [
            ("src/smtp/session.rs", "use crate::{mail::ids, store::outcome::Receipt, smtp::reply};"),
            (
                "src/smtp/session.rs",
                "// use tokio::net;\n/// crate::pop3\nconst A: &str = \"use tokio::net;\";",
            ),
            ("src/smtp/session.rs", "use std::net::IpAddr;\nuse std::time::{Duration, Instant};"),
            ("src/smtp/session.rs", "#[cfg(test)]\nmod tests {\n use tokio::time;\n}"),
            ("src/smtp/codec.rs", "use tokio_util::codec::{Decoder, Encoder};"),
            (
                "src/smtp/server.rs",
                "use crate::store::Store;\nuse tokio::select;\nuse super::session::Session;",
            ),
            ("src/store/outcome.rs", "impl A { pub(in crate::store) fn new() {} }"),
            ("src/store/sqlite/write.rs", "use sqlx::query;\nuse super::super::engine::Op;"),
            ("src/auth/mod.rs", "use crate::store::Store;"),
            ("src/serve.rs", "use crate::{smtp, pop3, store::Store, config::Config};"),
        ];
        for (path, text) in table {
            assert_eq!(layers::check(&file(path, text)), Vec::<String>::new(), "{path}: {text}");
        }
    }

    #[test]
    fn what_is_too_long_is_found_and_what_fits_is_not() {
        let function =
            |lines: usize| format!("//! A file.\nfn long() {{\n{}}}\n", "    a();\n".repeat(lines - 2));
        assert_eq!(sizes::check(&file("src/a.rs", &function(70))), Vec::<String>::new());
        assert_eq!(sizes::check(&file("src/a.rs", &function(71))).len(), 1);
        assert_eq!(sizes::check(&file("src/a.rs", &"\n".repeat(500))), Vec::<String>::new());
        assert_eq!(sizes::check(&file("src/a.rs", &"\n".repeat(501))).len(), 1);
        assert_eq!(sizes::check(&file("src/a.rs", &"ü".repeat(110))), Vec::<String>::new());
        assert_eq!(sizes::check(&file("src/a.rs", &"ü".repeat(111))).len(), 1);
        let braces = "fn short() { let a = '{'; let b = \"{{{\"; let c = r#\"{\"{\"#; /* { */ } // {\n";
        assert_eq!(
            sizes::check(&file("src/a.rs", &format!("{braces}{}", "\n".repeat(90)))),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_rule_without_a_proof_and_a_proof_without_a_rule_are_found() {
        let rule = file("src/a.rs", "fn keep() {\n    // RFC 5321 §4.5.2: dots are doubled.\n    a();\n}\n");
        let mark = ["// pro", "ves: RFC 5321 §4.5.2"].concat();
        let proof = file("tests/b.rs", &format!("{mark}\n#[test]\nfn dots_are_doubled() {{}}\n"));
        let other = file("tests/b.rs", &format!("{mark}.1\n#[test]\nfn dots_are_doubled() {{}}\n"));
        assert_eq!(marks::collect(std::slice::from_ref(&rule)).gaps().len(), 1);
        assert_eq!(marks::collect(&[rule.clone(), other]).gaps().len(), 2);
        let spoken = file("tests/dialogues/smtp/a.txt", "# A talk.\n# proves: RFC 5321 §4.5.2\nC: QUIT\n");
        assert_eq!(marks::collect(&[rule.clone(), spoken]).gaps(), Vec::<String>::new());
        let both = marks::collect(&[rule, proof]);
        assert_eq!(both.gaps(), Vec::<String>::new());
        let table = both.table();
        let row = "| RFC 5321 §4.5.2 | Dots are doubled. | `src/a.rs` keep | `tests/b.rs` dots_are_doubled |";
        assert!(table.contains(row), "{table}");
    }

    #[test]
    fn leftovers_missing_purposes_and_paths_are_found() {
        let word = ["TO", "DO"].concat();
        assert_eq!(files::leftovers(&file("src/a.rs", &format!("// {word}: later\n"))).len(), 1);
        assert_eq!(files::leftovers(&file("src/a.rs", "// done\n")), Vec::<String>::new());
        assert!(files::lacks_purpose(&file("src/a.rs", "use std::fmt;\n")).is_some());
        assert!(files::lacks_purpose(&file("src/a.rs", "//! What it is for.\n")).is_none());
        let path = ["/ro", "ot/x"].concat();
        assert_eq!(files::machine_paths(&file("README.md", &path)).len(), 1);
    }

    #[test]
    fn a_default_that_the_readme_tells_wrongly_or_not_at_all_is_found() {
        let config = "a = 1\n[b]\nc = \"x\"\nd = []\n";
        let row = |key: &str, value: &str| format!("| `{key}` | `{value}` | what it is |\n");
        let right = row("a", "1") + &row("b.c", "\"x\"") + "| `b.*` | none | the rest |\n";
        assert_eq!(readme::differences(&right, config), Vec::<String>::new());
        assert_eq!(readme::differences(&right.replace("`1`", "`2`"), config).len(), 1);
        assert_eq!(readme::differences(&right.replace("b.*", "x.*"), config).len(), 1);
        assert_eq!(readme::differences(&(right + &row("b.e", "1")), config).len(), 1);
    }

    #[test]
    fn a_file_that_only_one_protocol_has_is_found() {
        let names = ["mod", "command", "reply", "offer", "session", "codec", "server"];
        let folder = |folder: &str| -> Vec<File> {
            names.iter().map(|name| file(&format!("src/{folder}/{name}.rs"), "")).collect()
        };
        assert_eq!(files::unmirrored(&folder("smtp"), &folder("pop3")), Vec::<String>::new());
        assert_eq!(files::unmirrored(&folder("smtp")[1..], &folder("pop3")).len(), 1);
        let mut more = folder("pop3");
        more.push(file("src/pop3/helpers.rs", ""));
        assert_eq!(files::unmirrored(&folder("smtp"), &more).len(), 1);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found_and_one_into_what_is_not_packaged() {
        let files: BTreeSet<String> = ["a.md", "docs/b.md", "docs/c/d.md", "e.txt"].map(str::to_owned).into();
        let broken = |path: &str, text: &str| links::broken(&[file(path, text)], &files).len();
        assert_eq!(broken("a.md", "[b](docs/b.md#x), [c](docs/c/), [w](https://a.example/), [h](#h)"), 0);
        assert_eq!(broken("docs/b.md", "[a](../a.md) [d](c/d.md)"), 0);
        assert_eq!(broken("docs/b.md", "[a](a.md) [e](../../e.txt)[x](x)"), 2);
        let rows = "[\"docs/*.md\", \"usr/share/doc/pillarbox/docs/\", \"644\"],\
            [\"a.md\", \"usr/share/doc/pillarbox/elsewhere/\", \"644\"]";
        let manifest = format!("[package.metadata.deb]\nassets = [{rows}]\n");
        assert_eq!(links::packaged(&manifest, &files).into_iter().collect::<Vec<_>>(), ["docs/b.md"]);
    }
}
