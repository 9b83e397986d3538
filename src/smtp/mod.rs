//! SMTP, submission and LMTP: the way in. What sets the three apart is a table in [`role`].
//!
//! # States
//!
//! ```text
//!              EHLO HELO LHLO        MAIL                  RCPT
//!  Connected ───────────▶ Ready ───────────▶ Transaction ───────▶ Routing
//!      ▲                   ▲ ▲ ▲ ▲ │            │  │  ▲              │
//!      │                   │ │ │ │ └─ AUTH ─▶ Exchanging             │
//!      │ TLS has begun     │ │ │ └──────────────┘ verdict            │
//!      │      RSET EHLO    │ │ │  RSET EHLO     │  │  └──────────────┘ answer
//!  Securing   HELO ────────┘ │ └────────────────┘  │
//!      ▲                     │                     ├─ DATA, BDAT n LAST ─▶ Receiving ◀─┐
//!      │ STARTTLS            │                     │                           │       │
//!  any with a greeting       │                     └─ BDAT n ─▶ ReceivingChunk │       │
//!                            │                                     │     ▲     │       │
//!                            │                             250     ▼     │     │       │
//!                            │                                   Chunks ─┘ BDAT n      │
//!                            │                                     └── BDAT n LAST ────┘
//!                            │ 250 or 4xx                                      │
//!                            └──────────────── Delivering ◀────────────────────┘ all has come
//! ```
//!
//! From every state: QUIT, silence for too long, no login in time, a stopping server, the twentieth error
//! and the third failed login lead to `Closed`; EHLO, HELO and RSET from `Transaction` and `Chunks` lead to
//! `Ready`; a message that is refused leads from `Receiving` to `Ready`. Between `Ready` and `Transaction`
//! submission asks whether the sender is allowed, in `Permitting`. MAIL that is refused leads to `Failed`,
//! and a chunk that is refused and not the last; from there it goes on as from `Ready`, but what was sent
//! ahead for the refused transaction is no error of its own.
//!
//! # Transitions
//!
//! | event | in | does | to |
//! | --- | --- | --- | --- |
//! | EHLO, HELO, LHLO | any | tells the extensions, if it is the greeting of the role | `Ready` |
//! | STARTTLS | any but `Connected`, without TLS | 220, begins the handshake | `Securing` |
//! | handshake done | `Securing` | forgets name, login and transaction | `Connected` |
//! | AUTH | `Ready` after EHLO, not logged in | 334, or asks for the verdict | `Exchanging` |
//! | line, answer | `Exchanging` | 334, or 235 if and only if there is a login | the same, or `Ready` |
//! | MAIL | `Ready`, `Failed` | opens the envelope, or refuses it | `Transaction`, `Failed` |
//! | MAIL | the same, submission | asks whether the account may send so | `Permitting` |
//! | answer | `Permitting` | opens the envelope, or refuses it | `Transaction`, `Failed` |
//! | RCPT | `Transaction` | asks where the mail goes | `Routing` |
//! | answer | `Routing` | adds the recipient, or refuses it | `Transaction` |
//! | DATA | `Transaction` with recipients | 354, reads to the dot | `Receiving` |
//! | BDAT n | `Transaction` with recipients, `Chunks` | reads n octets | `ReceivingChunk` |
//! | BDAT n LAST | the same | reads n octets | `Receiving` |
//! | chunk came | `ReceivingChunk` | 250 | `Chunks` |
//! | message came | `Receiving` | hands it to the store | `Delivering` |
//! | receipt, error | `Delivering` | 250 if and only if there is a receipt; LMTP: for each | `Ready` |
//! | RSET | any | forgets the transaction | `Ready`, or stays `Connected` |
//! | NOOP, HELP, VRFY, EXPN | any | answers | the same |
//! | BDAT n | in vain | 503, 552 or 554; its octets are swallowed | `Failed`, or the same |
//! | BDAT n LAST | in vain | the same; LMTP: for each recipient | `Ready`, or the same |
//! | RCPT, DATA | `Failed` | 503, which is not counted | the same |
//! | anything else | | 503 | the same |
//!
//! # What holds
//!
//! - `Connected`: there is no name of the client. `Ready` and later: there is one.
//! - `Transaction`, `Chunks`: there is a sender; the recipients are at most `limits.recipients`. With
//!   submission there is a login, and the sender is null or one of its addresses.
//! - `Receiving`, `ReceivingChunk`, `Chunks`: there is at least one recipient, and the octets that
//!   were announced in chunks are within the limit on a message.
//! - `Securing`, `Permitting`, `Routing`, `Receiving`, `ReceivingChunk`, `Delivering`: no command is
//!   read. One is answered at a time, in order, whatever was sent ahead. What was sent ahead of a
//!   handshake is thrown away. In `Exchanging` a line is a response and never a command.
//! - `Delivering`: the session has nothing of the transaction any more; the store has it or has not.
//! - A reply of class 2 to a whole message exists only with a [`crate::store::outcome::Receipt`], and
//!   a login only with a [`crate::auth::outcome::Login`], which outlives transactions but not STARTTLS.
//! - Where a password would cross a network in clear, AUTH is neither offered nor taken.
//! - Whatever is refused, the octets that belong to it are read to their end and never as commands.
//!   Where that end cannot be known (a BDAT without a readable size, or in a line that is spoilt) the
//!   connection is closed.
//!
//! # Standards
//!
//! RFC 5321 (SMTP), 2920 (PIPELINING), 1870 (SIZE), 6152 (8BITMIME), 6531 (SMTPUTF8), 3030
//! (CHUNKING, without BINARYMIME), 2034 and 3463 (ENHANCEDSTATUSCODES), 9422 (LIMITS), 3207
//! (STARTTLS), 4954 (AUTH), 6409 (submission), 2033 (LMTP), 3848 (names in `Received:`).

pub mod budget;
pub mod codec;
pub mod command;
pub mod intake;
pub mod offer;
pub mod path;
pub mod reply;
pub mod role;
pub mod server;
pub mod session;
pub mod syntax;
