//! Tables of what clients may send, and of what is refused.

use super::*;
use crate::mail::peer::TlsInfo;

const NONCE: [u8; 18] = [7; 18];

fn tls(exporter: Option<[u8; 32]>) -> Security {
    let (version, cipher) = ("TLSv1.3".into(), "TLS13_AES_256_GCM_SHA384".into());
    Security::Tls(TlsInfo { version, cipher, exporter })
}

fn begin(mechanism: Mechanism, message: &[u8], security: &Security) -> (Exchange, Turn) {
    Exchange::begin(mechanism, Some(encode(message).as_bytes()), security, NONCE, Strictness::Full)
}

/// A turn as text, secrets shown.
fn told(turn: &Turn) -> String {
    match turn {
        Turn::Challenge(line) => {
            format!("challenge {}", String::from_utf8_lossy(&decode(line.as_bytes()).expect("base64")))
        }
        Turn::Parameters(user) => format!("parameters {user}"),
        Turn::Check(Evidence::Password(it)) => {
            format!("check {} {}", it.user, String::from_utf8_lossy(it.password.expose()))
        }
        Turn::Check(Evidence::Scram(proof)) => {
            format!("check {} {}", proof.user, String::from_utf8_lossy(&proof.auth_message))
        }
        Turn::Check(Evidence::Void(fault)) => format!("void {fault:?}"),
        Turn::Done => "done".to_owned(),
        Turn::Failed(fault) => format!("{fault:?}"),
    }
}

#[test]
fn a_mechanism_is_read_without_case_and_plus_is_offered_where_there_is_a_binding() {
    for mechanism in Mechanism::WITH_BINDING {
        assert_eq!(Mechanism::parse(&mechanism.name().to_lowercase()), Some(*mechanism));
    }
    for unknown in ["", "PLAIN ", "SCRAM-SHA-1", "CRAM-MD5", "SCRAM-SHA-256-PLU"] {
        assert_eq!(Mechanism::parse(unknown), None, "{unknown}");
    }
    let without = ["SCRAM-SHA-256", "PLAIN", "LOGIN"];
    let names = |security: &Security| -> Vec<_> {
        Mechanism::offered(security).iter().map(|mechanism| mechanism.name()).collect()
    };
    assert_eq!(names(&Security::Plain), without);
    assert_eq!(names(&tls(None)), without);
    assert_eq!(names(&tls(Some([1; 32]))), ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"]);
}

// proves: RFC 4616 §2
#[test]
fn plain_takes_a_name_and_a_password_and_nobody_acts_for_another() {
    for (message, turn) in [
        (b"\0ann\0secret".as_slice(), "check ann secret"),
        (b"ann\0ann\0secret", "check ann secret"),
        ("\0grün@bücher.example\0pässword".as_bytes(), "check grün@bücher.example pässword"),
        (b"\0ann\0 ", "check ann  "),
        (b"bob\0ann\0secret", "Malformed"),
        (b"ANN\0ann\0secret", "Malformed"),
        (b"\0ann\0", "Malformed"),
        (b"\0\0secret", "Malformed"),
        (b"\0ann\0sec\0ret", "Malformed"),
        (b"\0ann\0secret\0", "Malformed"),
        (b"ann\0secret", "Malformed"),
        (b"ann", "Malformed"),
        (b"", "Malformed"),
        (b"\0ann\0secr\xe9t", "Malformed"),
        (b"\0a\xffn\0secret", "Malformed"),
    ] {
        let (_, at_once) = begin(Mechanism::Plain, message, &Security::Plain);
        assert_eq!(told(&at_once), turn, "{message:?}");
        let (mut exchange, first) =
            Exchange::begin(Mechanism::Plain, None, &Security::Plain, NONCE, Strictness::Full);
        assert_eq!(told(&first), "challenge ");
        assert_eq!(told(&exchange.line(encode(message).as_bytes())), turn, "{message:?}");
        if turn.starts_with("check") {
            assert_eq!(told(&exchange.verified(None)), "done");
        }
        assert_eq!(told(&exchange.verified(None)), "Malformed", "it is over");
    }
}

#[test]
fn where_nobody_checks_passwords_any_name_and_password_are_taken_for_whomever() {
    let begin = |mechanism, message: &[u8]| {
        Exchange::begin(mechanism, Some(encode(message).as_bytes()), &Security::Plain, NONCE, Strictness::Lax)
    };
    for (message, turn) in [
        (b"\0ann\0secret".as_slice(), "check ann secret"),
        (b"bob\0ann\0secret", "check bob secret"),
        (b"\0CORP\\app\0", "check CORP\\app "),
        (b"\0\0secret", "check  secret"),
        (b"\0\0", "check  "),
        (b"\0a\xffn\0x", "check a\u{fffd}n x"),
        (b"\0ann\0sec\0ret", "Malformed"),
        (b"ann\0secret", "Malformed"),
        (b"", "Malformed"),
    ] {
        let (mut exchange, at_once) = begin(Mechanism::Plain, message);
        assert_eq!(told(&at_once), turn, "{message:?}");
        if turn.starts_with("check") {
            assert_eq!(told(&exchange.verified(None)), "done");
        }
    }
    for (user, password, turn) in [
        (b"".as_slice(), b"".as_slice(), "check  "),
        (b"two words", b"a\0b", "check two words a\0b"),
        (b"a\xffn", b"x", "check a\u{fffd}n x"),
    ] {
        let (mut exchange, challenge) = begin(Mechanism::Login, user);
        assert_eq!(told(&challenge), "challenge Password:");
        assert_eq!(told(&exchange.line(encode(password).as_bytes())), turn);
    }
}

// proves: RFC 4954 §4, RFC 5034 §4
#[test]
fn an_asterisk_cancels_at_any_point_and_an_equals_sign_is_an_empty_response() {
    for mechanism in Mechanism::WITH_BINDING {
        let (mut exchange, _) =
            Exchange::begin(*mechanism, None, &tls(Some([1; 32])), NONCE, Strictness::Full);
        assert_eq!(told(&exchange.line(b"*")), "Cancelled");
        assert_eq!(told(&exchange.line(b"*")), "Cancelled");
        assert_eq!(told(&exchange.line(&b"AGFubgBzZWNyZXQ="[..])), "Malformed", "it is over");
        let (_, turn) = Exchange::begin(*mechanism, Some(b"="), &tls(Some([1; 32])), NONCE, Strictness::Full);
        assert_eq!(told(&turn), "Malformed");
    }
    let (mut exchange, _) = begin(Mechanism::Login, b"ann", &Security::Plain);
    assert_eq!(told(&exchange.line(b"*")), "Cancelled");
}

// proves: RFC 4954 §4
#[test]
fn what_is_not_canonical_base64_is_told_apart() {
    for line in [
        b"AGFubgBzZWNyZXQ".as_slice(),
        b"AGFubgBzZWNyZXQ=\r",
        b" AGFubgBzZWNyZXQ=",
        b"AGFubgBzZWNyZXR=",
        b"AGFu\nbgBz",
        b"AGFubgB_",
        b"==",
        b"**",
        b"\xff\xfe\0",
    ] {
        for mechanism in Mechanism::WITH_BINDING {
            let (mut exchange, _) =
                Exchange::begin(*mechanism, None, &Security::Plain, NONCE, Strictness::Full);
            assert_eq!(told(&exchange.line(line)), "NotBase64", "{line:?}");
            let (_, turn) =
                Exchange::begin(*mechanism, Some(line), &Security::Plain, NONCE, Strictness::Full);
            assert_eq!(told(&turn), "NotBase64", "{line:?}");
        }
    }
}

#[test]
fn login_asks_for_the_name_and_then_for_the_password() {
    let (mut exchange, turn) =
        Exchange::begin(Mechanism::Login, None, &Security::Plain, NONCE, Strictness::Full);
    assert!(matches!(turn, Turn::Challenge(line) if line == "VXNlcm5hbWU6"));
    assert!(matches!(exchange.line(b"YW5u"), Turn::Challenge(line) if line == "UGFzc3dvcmQ6"));
    assert_eq!(told(&exchange.line(b"c2VjcmV0")), "check ann secret");
    assert_eq!(told(&exchange.verified(None)), "done");

    let (mut exchange, turn) = begin(Mechanism::Login, b"ann", &Security::Plain);
    assert_eq!(told(&turn), "challenge Password:");
    assert!(matches!(exchange.line(b"c+k="), Turn::Check(_)), "a password in Latin-1");

    for (user, password) in [("", "x"), ("a\0", "x"), ("ann", ""), ("ann", "a\0b")] {
        let (mut exchange, _) =
            Exchange::begin(Mechanism::Login, None, &Security::Plain, NONCE, Strictness::Full);
        exchange.line(encode(user).as_bytes());
        assert_eq!(told(&exchange.line(encode(password).as_bytes())), "Malformed", "{user:?} {password:?}");
    }
}

fn parameters() -> ScramParameters {
    ScramParameters { salt: b"salt".as_slice().into(), iterations: 4096 }
}

#[test]
fn scram_goes_its_whole_way() {
    let (mut exchange, turn) = begin(Mechanism::ScramSha256, b"n,,n=ann,r=abc", &Security::Plain);
    assert_eq!(told(&turn), "parameters ann");
    let ours = encode(NONCE);
    let server_first = format!("r=abc{ours},s=c2FsdA==,i=4096");
    assert_eq!(told(&exchange.parameters(&parameters())), format!("challenge {server_first}"));
    let proof = encode([9; 32]);
    let client_final = encode(format!("c=biws,r=abc{ours},p={proof}"));
    let turn = exchange.line(client_final.as_bytes());
    assert_eq!(told(&turn), format!("check ann n=ann,r=abc,{server_first},c=biws,r=abc{ours}"));
    let Turn::Check(Evidence::Scram(found)) = &turn else { panic!("{turn:?}") };
    assert_eq!(found.client_proof, [9; 32]);
    assert!(!format!("{turn:?} {exchange:?}").contains("abc"), "nothing of it is shown");
    let last = exchange.verified(Some(ServerSignature([3; 32])));
    assert_eq!(told(&last), format!("challenge v={}", encode([3; 32])));
    assert_eq!(told(&exchange.line(b"")), "done");
    assert_eq!(told(&exchange.line(b"")), "Malformed");
}

// proves: RFC 5802 §5.1, RFC 5802 §6
#[test]
fn the_first_message_of_scram_is_read_strictly() {
    use Mechanism::{ScramSha256 as Scram, ScramSha256Plus as Plus};
    let (plain, bound) = (Security::Plain, tls(Some([5; 32])));
    let long = format!("n,,n=ann,r={}", "x".repeat(scram::CLIENT_NONCE_MAX + 1));
    for (mechanism, security, message, turn) in [
        (Scram, &plain, "n,,n=ann,r=abc", "parameters ann"),
        (Scram, &bound, "n,,n=ann,r=abc", "parameters ann"),
        (Scram, &plain, "y,,n=ann,r=abc", "parameters ann"),
        (Scram, &tls(None), "y,,n=ann,r=abc", "parameters ann"),
        (Plus, &bound, "p=tls-exporter,,n=ann,r=abc", "parameters ann"),
        (Scram, &plain, "n,a=ann,n=ann,r=abc", "parameters ann"),
        (Scram, &plain, "n,,n=a=2Cn=3Dn,r=abc", "parameters a,n=n"),
        (Scram, &plain, "n,,n=ann,r=abc,x=later,y=z", "parameters ann"),
        // An offered binding that the client did not see: somebody took it away.
        (Scram, &bound, "y,,n=ann,r=abc", "ChannelBinding"),
        (Plus, &bound, "y,,n=ann,r=abc", "ChannelBinding"),
        (Plus, &bound, "n,,n=ann,r=abc", "ChannelBinding"),
        (Plus, &bound, "p=tls-unique,,n=ann,r=abc", "ChannelBinding"),
        (Plus, &plain, "p=tls-exporter,,n=ann,r=abc", "ChannelBinding"),
        (Scram, &bound, "p=tls-exporter,,n=ann,r=abc", "ChannelBinding"),
        (Scram, &plain, "q,,n=ann,r=abc", "Malformed"),
        (Scram, &plain, "N,,n=ann,r=abc", "Malformed"),
        (Scram, &plain, "n,,m=new,n=ann,r=abc", "Malformed"),
        (Scram, &plain, "n,,n=ann,r=abc,m=new", "Malformed"),
        (Scram, &plain, "n,,n=ann,r=abc,", "Malformed"),
        (Scram, &plain, "n,a=bob,n=ann,r=abc", "Malformed"),
        (Scram, &plain, "n,bob,n=ann,r=abc", "Malformed"),
        (Scram, &plain, "n,,n=a=2cn,r=abc", "Malformed"),
        (Scram, &plain, "n,,n=a=n,r=abc", "Malformed"),
        (Scram, &plain, "n,,n=ann=,r=abc", "Malformed"),
        (Scram, &plain, "n,,n=,r=abc", "Malformed"),
        (Scram, &plain, "n,,n=a\0n,r=abc", "Malformed"),
        (Scram, &plain, "n,,n=ann,r=", "Malformed"),
        (Scram, &plain, "n,,n=ann,r=a b", "Malformed"),
        (Scram, &plain, "n,,n=ann,r=ä", "Malformed"),
        (Scram, &plain, "n,,r=abc,n=ann", "Malformed"),
        (Scram, &plain, "n,,n=ann", "Malformed"),
        (Scram, &plain, "n,n=ann,r=abc", "Malformed"),
        (Scram, &plain, "n=ann,r=abc", "Malformed"),
        (Scram, &plain, "n", "Malformed"),
        (Scram, &plain, "", "Malformed"),
        (Scram, &plain, long.as_str(), "Malformed"),
    ] {
        let (_, got) = begin(mechanism, message.as_bytes(), security);
        assert_eq!(told(&got), turn, "{mechanism:?} {message}");
    }
    let (_, got) = begin(Scram, b"n,,n=a\xffn,r=abc", &plain);
    assert_eq!(told(&got), "Malformed");
}

// proves: RFC 5802 §5.1
#[test]
fn the_last_message_of_scram_is_bound_to_the_connection_and_the_nonce() {
    let exporter = [5; 32];
    let header = b"p=tls-exporter,,";
    let binding = |octets: &[u8]| encode([header.as_slice(), octets].concat());
    let (right, proof) = (binding(&exporter), encode([9; 32]));
    let nonce = format!("abc{}", encode(NONCE));
    let mut wrong = exporter;
    wrong[31] ^= 1;
    for (message, verdict) in [
        (format!("c={right},r={nonce},p={proof}"), "check"),
        (format!("c={right},r={nonce},x=later,p={proof}"), "check"),
        (format!("c={},r={nonce},p={proof}", binding(&wrong)), "ChannelBinding"),
        (format!("c={},r={nonce},p={proof}", binding(&[])), "ChannelBinding"),
        (format!("c=biws,r={nonce},p={proof}"), "ChannelBinding"),
        (format!("c=,r={nonce},p={proof}"), "ChannelBinding"),
        (format!("c={right},r=abc,p={proof}"), "Malformed"),
        (format!("c={right},r={nonce}x,p={proof}"), "Malformed"),
        (format!("c={right},r=x{nonce},p={proof}"), "Malformed"),
        (format!("c={right},p={proof}"), "Malformed"),
        (format!("r={nonce},c={right},p={proof}"), "Malformed"),
        (format!("c={right},r={nonce}"), "Malformed"),
        (format!("c={right},r={nonce},p="), "Malformed"),
        (format!("c={right},r={nonce},p={}", encode([9; 31])), "Malformed"),
        (format!("c={right},r={nonce},p={}", encode([9; 33])), "Malformed"),
        (format!("c={right},r={nonce},p={proof},x=y"), "Malformed"),
        (format!("c={right},r={nonce},m=new,p={proof}"), "Malformed"),
        (format!("c=!,r={nonce},p={proof}"), "Malformed"),
        (String::new(), "Malformed"),
    ] {
        let first = b"p=tls-exporter,,n=ann,r=abc";
        let (mut exchange, _) = begin(Mechanism::ScramSha256Plus, first, &tls(Some(exporter)));
        exchange.parameters(&parameters());
        let got = told(&exchange.line(encode(&message).as_bytes()));
        assert!(got.starts_with(verdict), "{message}: {got}");
    }
}

#[test]
fn calls_out_of_turn_end_an_exchange_and_nobody_is_logged_in() {
    let scram = || begin(Mechanism::ScramSha256, b"n,,n=ann,r=abc", &Security::Plain).0;
    assert_eq!(told(&scram().verified(Some(ServerSignature([0; 32])))), "Malformed");
    assert_eq!(told(&scram().line(b"")), "Malformed");
    let mut twice = scram();
    twice.parameters(&parameters());
    assert_eq!(told(&twice.parameters(&parameters())), "Malformed");
    let (mut plain, _) = Exchange::begin(Mechanism::Plain, None, &Security::Plain, NONCE, Strictness::Full);
    assert_eq!(told(&plain.verified(None)), "Malformed");
    let (mut plain, _) = begin(Mechanism::Plain, b"\0ann\0secret", &Security::Plain);
    assert_eq!(told(&plain.line(b"")), "Malformed");
    assert_eq!(told(&plain.verified(None)), "Malformed");
}

#[test]
fn no_debug_output_shows_a_secret() {
    let (exchange, turn) = begin(Mechanism::Plain, b"\0ann\0hunter2", &Security::Plain);
    let shown = format!("{exchange:?} {turn:?}");
    assert!(shown.contains("ann") && !shown.contains("hunter2"), "{shown}");
}
