//! What the conversations of SMTP cannot show: answers of a kind that nobody has asked for.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot do")]

use pillarbox::mail::address::Address;
use pillarbox::mail::body::{Beginning, Body, Message};
use pillarbox::mail::ids::QueueId;
use pillarbox::smtp::offer::Offer;
use pillarbox::smtp::role::Role;
use pillarbox::smtp::role::Terms;
use pillarbox::smtp::session::{Answer, Ask, Event, Next, Session};
use pillarbox::store::outcome::{Receipt, Route};
use std::sync::Arc;

/// A session that has handed a message for two recipients to the store.
fn delivering(role: Role) -> Session {
    let postmaster = Address::parse("postmaster@example.org").unwrap();
    let mailboxes = || vec![postmaster.name()];
    let terms = Terms {
        hostname: "mx.example.org".into(),
        postmaster: postmaster.clone(),
        message_octets_max: 1_024,
        recipients_max: 3,
        role,
    };
    let (mut session, _) = Session::new(Arc::new(terms), Offer::default());
    let hello: &[u8] = if role == Role::Lmtp { b"LHLO client" } else { b"EHLO client" };
    session.step(Event::Line(hello));
    session.step(Event::Line(b"MAIL FROM:<>"));
    for to in [b"RCPT TO:<a@example.org>", b"RCPT TO:<b@example.org>"] {
        session.step(Event::Line(to));
        session.step(Event::Answer(Answer::Route(Ok(Route::Mailboxes(mailboxes())))));
    }
    session.step(Event::Line(b"DATA"));
    let message = Message { body: Body::Memory(vec![]), beginning: Beginning::Header };
    let step = session.step(Event::Body(Ok(message)));
    assert!(matches!(step.next, Next::Ask(Ask::Deliver(..) | Ask::DeliverEach(..))), "{step:?}");
    session
}

fn one() -> Answer {
    Answer::Deliver(Ok(Receipt::pretended(QueueId::from_random(0))))
}

fn each() -> Answer {
    let receipt = Arc::new(Receipt::pretended(QueueId::from_random(0)));
    Answer::DeliverEach(vec![Ok(receipt.clone()), Ok(receipt)])
}

// proves: RFC 2033 §4.2
#[test]
fn a_message_has_as_many_verdicts_as_its_protocol_wants() {
    for (role, answer, codes) in [
        (Role::Mx, one(), &[250][..]),
        (Role::Lmtp, each(), &[250, 250]),
        // The answer to a question of the other protocol is a fault of the driver.
        (Role::Mx, each(), &[421]),
        (Role::Lmtp, one(), &[421]),
    ] {
        let step = delivering(role).step(Event::Answer(answer));
        assert_eq!(step.say.iter().map(|reply| reply.code()).collect::<Vec<_>>(), codes, "{role:?}");
        assert_eq!(matches!(step.next, Next::Close), codes == [421], "{role:?}");
    }
}
