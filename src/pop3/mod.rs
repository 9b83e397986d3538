//! POP3: how mail goes out.
//!
//! Read [`command`] (the words of the client), [`reply`] (the words of the server), [`offer`] (what
//! CAPA announces), then [`session`] (the order of things), and last [`server`], which carries
//! bytes and questions between a session, its socket and the store. `smtp` has files of
//! the same names. Own to POP3: [`marks`] (what is marked deleted), [`pages`] (long lists), [`top`]
//! (the cutter of TOP).
//!
//! # States
//!
//! ```text
//!        STLS ▶ Securing ─┐ handshake
//!          │   ┌──────────┘              PASS, or the last response         listing
//!          │   ▼          AUTH                                right
//!  ┌──▶ Authorization ────────▶ Beginning, Looking, ──▶ Checking ──▶ Opening ──▶ Transaction ──┐
//!  │       │       ▲            Challenged                │             │          │   ▲ └─────┘ STAT …
//!  └───────┘       └────────────────┴── no, or cancelled ─┴─────────────┘     QUIT │   ╳ nothing leads back
//!  USER UTF8 CAPA  │                                                               ▼
//!          │ QUIT  │ third wrong login, or the address is blocked               Updating
//!          ▼       ▼                                                               │ deleted, or the
//!        Closed ◀──────────────────────────────────────────────────────────────────┘ store could not
//! ```
//!
//! | state | what holds there |
//! | --- | --- |
//! | `Authorization { user }` | no mailbox is open; `user` is the name of the last USER until a PASS |
//! | `Securing` | the driver shakes hands; then the session starts anew with another [`offer`] |
//! | `Beginning`, `Looking` | an exchange of SASL waits for random octets, or for the salt of its user |
//! | `Challenged` | the next line is a response and never a command |
//! | `Checking` | the driver checks a password or proof; no command is read meanwhile |
//! | `Opening` | the driver opens the mailbox; no command is read meanwhile |
//! | `Transaction(Marks)` | the driver holds the lease; numbers and sizes are fixed; nothing is deleted yet |
//! | `Updating` | the store has the lease and the marked ids; no command is read meanwhile |
//! | `Closed` | nothing is held; every event is answered by closing |
//!
//! | event | Authorization | Transaction |
//! | --- | --- | --- |
//! | USER | `+OK`, name kept | `-ERR` |
//! | PASS | after USER: ask `Check` → Checking; else `-ERR` | `-ERR` |
//! | AUTH | alone: the mechanisms; with one that is offered: ask `Nonce` → Beginning; else `-ERR` | `-ERR` |
//! | USER, PASS, AUTH where a login needs TLS and there is none | `-ERR [AUTH]` | |
//! | STLS | `+OK` → Securing; without a certificate, or under TLS, `-ERR` | `-ERR` |
//! | UTF8 | `+OK` | `-ERR` |
//! | CAPA | the same list | the same list |
//! | STAT LIST UIDL RETR TOP DELE NOOP RSET | `-ERR` | done, with messages that are not marked |
//! | QUIT | `+OK`, Closed | ask `Update` → Updating |
//! | no command, or one not well formed | `-ERR`; the 20th closes | the same |
//! | silence, or no login in time | Closed, without a word (RFC 1939 §3) | the same, nothing is deleted |
//! | taken over, server stops | `-ERR [SYS/TEMP]`, Closed | the same, nothing is deleted |
//!
//! | answer | from Looking, Checking | from Opening | from Updating |
//! | --- | --- | --- | --- |
//! | right | Opening, or for SCRAM the proof of the server first | | |
//! | a listing | | `+OK`, Transaction | |
//! | wrong name or password | `-ERR [AUTH]`, Authorization; the third time Closed | | |
//! | blocked address | `-ERR [SYS/TEMP]`, Closed | | |
//! | in use | | `-ERR [IN-USE]`, Authorization | |
//! | deleted, with proof | | | `+OK`, Closed |
//! | store trouble | `-ERR [SYS/…]`, Authorization | the same | `-ERR [SYS/…]`, Closed, nothing is deleted |
//!
//! Deletions happen in `Updating` and nowhere else, and nothing but QUIT leads there.
//!
//! # RFCs
//!
//! | RFC | what | kept |
//! | --- | --- | --- |
//! | 1939 | POP3 | whole, but for the optional APOP, which needs passwords in clear on the server |
//! | 2449 | CAPA, response codes, pipelining | whole; LOGIN-DELAY is not offered |
//! | 2595, 8314 | STLS, TLS from the start | whole |
//! | 5034 | AUTH | whole; SASL security layers are not offered, TLS is there for that |
//! | 3206 | `[AUTH]`, `[SYS/TEMP]`, `[SYS/PERM]` | whole |
//! | 6856 | UTF8 | but for two things, both on purpose, below |
//!
//! RFC 6856 §2.1 wants a message with UTF-8 in its header withheld, or replaced, until the client
//! has said UTF8; the common clients never say it, and a message that cannot be fetched is worse
//! than one whose subject looks odd, so messages are sent as they are in both modes. §2.2 wants names and
//! passwords that are no UTF-8, or that SASLprep forbids, refused. Passwords are prepared by SASLprep;
//! one that cannot be is compared octet for octet, because older clients send Latin-1, and it opens only
//! what was set to those very octets. Names are compared as addresses are, without regard to case.

pub mod codec;
pub mod command;
pub mod marks;
pub mod offer;
pub mod pages;
pub mod reply;
pub mod server;
pub mod session;
pub mod top;
