//! The server's side of SASL: whatever a client sends and whoever answers in or out of turn, nobody is
//! logged in unless the answer to what was asked said so, and a client that does it right always is.
//!
//! ```text
//! words    plain, login, scram or xscram (with a binding); tls, bound; first (the next line is initial)
//! text     a line as it is
//! !e text  a line that is the text in base64
//! !p text  the parameters of SCRAM, with the text for salt
//! !v       right, without a signature
//! !s       right, with one
//! ```
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use pillarbox::mail::peer::{Security, TlsInfo};
use pillarbox::wire::sasl::{
    Evidence, Exchange, Fault, Mechanism, ScramParameters, ServerSignature, Strictness, Turn,
};
use pillarbox_fuzz::letter;
use pillarbox_fuzz::script::{self, Turn as Said};

const NONCE: [u8; 18] = [7; 18];
const EXPORTER: [u8; 32] = [5; 32];

fn security(words: &[u8]) -> Security {
    let (version, cipher) = ("TLSv1.3".into(), "x".into());
    let exporter = words.contains(&b'b').then_some(EXPORTER);
    let has_tls = words.contains(&b't') || exporter.is_some();
    if has_tls { Security::Tls(TlsInfo { version, cipher, exporter }) } else { Security::Plain }
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Now {
    Line,
    Parameters,
    /// With a password, or with a proof.
    Check(Mechanism),
    /// The client has to acknowledge the server's proof.
    Acknowledgement,
    Over,
}

/// What the turn must be by what was waited for and what came; returns what is waited for next.
fn after(mechanism: Mechanism, was: Now, verified: bool, turn: &Turn) -> Now {
    let is_scram = matches!(mechanism, Mechanism::ScramSha256 | Mechanism::ScramSha256Plus);
    match turn {
        Turn::Failed(_) => Now::Over,
        Turn::Done => {
            let right = if is_scram { Now::Acknowledgement } else { Now::Check(mechanism) };
            assert_eq!((was, verified), (right, !is_scram), "nobody said that it is right");
            Now::Over
        }
        Turn::Challenge(base64) => {
            assert!(STANDARD.decode(base64).is_ok() && base64.len() < 12_000, "{base64}");
            match was {
                Now::Check(_) => {
                    assert!(is_scram && verified);
                    Now::Acknowledgement
                }
                Now::Line | Now::Parameters => Now::Line,
                Now::Acknowledgement | Now::Over => panic!("{turn:?} after {was:?}"),
            }
        }
        Turn::Parameters(user) => {
            assert!(is_scram && was == Now::Line && !user.is_empty() && !user.contains('\0'));
            Now::Parameters
        }
        Turn::Check(evidence) => {
            assert_eq!(was, Now::Line);
            match evidence {
                Evidence::Password(_) => assert!(!is_scram),
                Evidence::Scram(_) => assert!(is_scram),
                Evidence::Void(_) => panic!("whoever drives the exchange makes that of a failure"),
            }
            Now::Check(mechanism)
        }
    }
}

/// PLAIN by the letter: what its one message means.
fn plain(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let text = String::from_utf8(STANDARD.decode(line).ok()?).ok()?;
    let [acts_as, user, password] = text.split('\0').collect::<Vec<_>>().try_into().ok()?;
    let is_right = !user.is_empty() && !password.is_empty() && (acts_as.is_empty() || acts_as == user);
    is_right.then(|| (user.to_owned(), password.into()))
}

fn credentials(turn: &Turn) -> Option<(String, Vec<u8>)> {
    match turn {
        Turn::Check(Evidence::Password(it)) => Some((it.user.to_string(), it.password.expose().to_vec())),
        _ => None,
    }
}

fn anything(data: &[u8]) {
    let (words, mut turns) = script::read(data);
    let mechanism = match words.first() {
        Some(b'l') => Mechanism::Login,
        Some(b's') => Mechanism::ScramSha256,
        Some(b'x') => Mechanism::ScramSha256Plus,
        _ => Mechanism::Plain,
    };
    let security = security(&words);
    let encoded = |said: Option<Said<'_>>| match said {
        Some(Said::Other(_, text)) => Some(STANDARD.encode(text).into_bytes()),
        Some(Said::Line(line)) => Some(line.to_vec()),
        None => None,
    };
    let initial = if words.contains(&b'f') { encoded(turns.next()) } else { None };
    let (mut exchange, turn) =
        Exchange::begin(mechanism, initial.as_deref(), &security, NONCE, Strictness::Full);
    if let (Some(initial), Mechanism::Plain) = (&initial, mechanism) {
        assert_eq!(credentials(&turn), plain(initial));
    }
    let mut now = after(mechanism, Now::Line, false, &turn);
    for said in turns {
        let (turn, in_turn, verified) = match said {
            Said::Other(b'p', salt) => {
                let parameters = ScramParameters { salt: salt.into(), iterations: 4096 };
                (exchange.parameters(&parameters), now == Now::Parameters, false)
            }
            Said::Other(b'v', _) => (exchange.verified(None), matches!(now, Now::Check(_)), true),
            Said::Other(b's', _) => {
                let signature = Some(ServerSignature([3; 32]));
                (exchange.verified(signature), matches!(now, Now::Check(_)), true)
            }
            line => {
                let line = encoded(Some(line)).unwrap_or_default();
                let turn = exchange.line(&line);
                if line == b"*" {
                    assert!(matches!(turn, Turn::Failed(Fault::Cancelled)));
                } else if letter::ends_login(&line) {
                    assert!(matches!(turn, Turn::Failed(Fault::NotBase64)));
                } else if let Turn::Failed(fault) = turn {
                    assert!(fault.is_a_guess(), "it must cost what a wrong password costs");
                }
                if mechanism == Mechanism::Plain && now == Now::Line {
                    assert_eq!(credentials(&turn), plain(&line));
                }
                (turn, matches!(now, Now::Line | Now::Acknowledgement), false)
            }
        };
        assert!(in_turn || matches!(turn, Turn::Failed(_)), "{turn:?} while {now:?}");
        now = after(mechanism, now, verified, &turn);
    }
}

/// A client that knows what to do, with a name and a password that the fuzzer chose.
fn right(data: &[u8]) {
    let Some((how, data)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(data).replace('\0', " ");
    let Some((user, password)) = text.split_once('\n') else { return };
    if user.is_empty() || password.is_empty() {
        return;
    }
    let wanted = Some((user.to_owned(), password.as_bytes().to_vec()));
    let plain = STANDARD.encode(format!("\0{user}\0{password}"));
    let initial = (how & 1 == 0).then_some(plain.as_bytes());
    let (mut exchange, mut turn) =
        Exchange::begin(Mechanism::Plain, initial, &Security::Plain, NONCE, Strictness::Full);
    if initial.is_none() {
        turn = exchange.line(plain.as_bytes());
    }
    assert_eq!(credentials(&turn), wanted);
    assert!(matches!(exchange.verified(None), Turn::Done));

    let (mut exchange, _) =
        Exchange::begin(Mechanism::Login, None, &Security::Plain, NONCE, Strictness::Full);
    let turn = exchange.line(STANDARD.encode(user).as_bytes());
    assert!(matches!(turn, Turn::Challenge(prompt) if prompt == "UGFzc3dvcmQ6"));
    assert_eq!(credentials(&exchange.line(STANDARD.encode(password).as_bytes())), wanted);
    assert!(matches!(exchange.verified(None), Turn::Done));

    let bound = how & 2 == 0;
    let security = security(if bound { b"b" } else { b"" });
    scram(&security, user, &STANDARD.encode(&password.as_bytes()[..password.len().min(300)]), bound);
}

fn scram(security: &Security, user: &str, nonce: &str, bound: bool) {
    let (mechanism, header, octets): (_, _, &[u8]) = match bound {
        true => (Mechanism::ScramSha256Plus, "p=tls-exporter,,", &EXPORTER),
        false => (Mechanism::ScramSha256, "n,,", &[]),
    };
    let name = user.replace('=', "=3D").replace(',', "=2C");
    let bare = format!("n={name},r={nonce}");
    let first = STANDARD.encode(format!("{header}{bare}"));
    let (mut exchange, turn) =
        Exchange::begin(mechanism, Some(first.as_bytes()), security, NONCE, Strictness::Full);
    assert!(matches!(&turn, Turn::Parameters(found) if **found == *user), "{turn:?}");
    let parameters = ScramParameters { salt: (*b"salt").into(), iterations: 4096 };
    let Turn::Challenge(challenge) = exchange.parameters(&parameters) else { panic!("no challenge") };
    let server_first = String::from_utf8(STANDARD.decode(challenge).expect("base64")).expect("text");
    let both = server_first[2..].split(',').next().expect("a nonce");
    assert!(both.starts_with(nonce) && both.len() > nonce.len());
    let binding = STANDARD.encode([header.as_bytes(), octets].concat());
    let without_proof = format!("c={binding},r={both}");
    let proof = STANDARD.encode([9; 32]);
    let turn = exchange.line(STANDARD.encode(format!("{without_proof},p={proof}")).as_bytes());
    let Turn::Check(Evidence::Scram(found)) = turn else { panic!("{turn:?}") };
    assert_eq!((&*found.user, found.client_proof), (user, [9; 32]));
    assert_eq!(&*found.auth_message, format!("{bare},{server_first},{without_proof}").as_bytes());
    let Turn::Challenge(last) = exchange.verified(Some(ServerSignature([3; 32]))) else { panic!("no proof") };
    assert_eq!(last, STANDARD.encode(format!("v={}", STANDARD.encode([3; 32]))));
    assert!(matches!(exchange.line(b""), Turn::Done));
}

fuzz_target!(|data: &[u8]| {
    anything(data);
    right(data);
});
