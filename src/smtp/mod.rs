//! SMTP: the way in.
//!
//! # States
//!
//! ```text
//!              EHLO HELO             MAIL                  RCPT
//!  Connected ───────────▶ Ready ───────────▶ Transaction ───────▶ Routing
//!                          ▲ ▲ ▲                │  │  ▲              │
//!             RSET EHLO    │ │ │  RSET EHLO     │  │  └──────────────┘ answer
//!             HELO ────────┘ │ └────────────────┘  │
//!                            │                     ├─ DATA, BDAT n LAST ─▶ Receiving ◀─┐
//!                            │                     │                           │       │
//!                            │                     └─ BDAT n ─▶ ReceivingChunk │       │
//!                            │                                     │     ▲     │       │
//!                            │                             250     ▼     │     │       │
//!                            │                                   Chunks ─┘ BDAT n      │
//!                            │                                     └── BDAT n LAST ────┘
//!                            │ 250 or 4xx                                      │
//!                            └──────────────── Delivering ◀────────────────────┘ all has come
//! ```
//!
//! From every state: QUIT, silence for too long, a stopping server and the twentieth error lead to
//! `Closed`; EHLO, HELO and RSET from `Transaction` and `Chunks` lead to `Ready`; a message or chunk
//! that is refused leads from `Receiving`, `ReceivingChunk` and `Chunks` to `Ready`.
//!
//! # Transitions
//!
//! | event | in | does | to |
//! | --- | --- | --- | --- |
//! | EHLO, HELO | any | tells the extensions | `Ready` |
//! | MAIL | `Ready` | opens the envelope | `Transaction` |
//! | RCPT | `Transaction` | asks where the mail goes | `Routing` |
//! | answer | `Routing` | adds the recipient, or refuses it | `Transaction` |
//! | DATA | `Transaction` with recipients | 354, reads to the dot | `Receiving` |
//! | BDAT n | `Transaction` with recipients, `Chunks` | reads n octets | `ReceivingChunk` |
//! | BDAT n LAST | the same | reads n octets | `Receiving` |
//! | chunk came | `ReceivingChunk` | 250 | `Chunks` |
//! | message came | `Receiving` | hands it to the store | `Delivering` |
//! | receipt, error | `Delivering` | 250 if and only if there is a receipt | `Ready` |
//! | RSET | any | forgets the transaction | `Ready`, or stays `Connected` |
//! | NOOP, HELP, VRFY, EXPN | any | answers | the same |
//! | BDAT | any other | 503, 552 or 554; its octets are swallowed | `Ready`, or stays `Connected` |
//! | anything else | | 503 | the same |
//!
//! # What holds
//!
//! - `Connected`: there is no name of the client. `Ready` and later: there is one.
//! - `Transaction`, `Chunks`: there is a sender; the recipients are at most `limits.recipients`.
//! - `Receiving`, `ReceivingChunk`, `Chunks`: there is at least one recipient, and the octets that
//!   were announced in chunks are within the limit on a message.
//! - `Routing`, `Receiving`, `ReceivingChunk`, `Delivering`: no command is read. One is answered at a
//!   time, in order, whatever was sent ahead.
//! - `Delivering`: the session has nothing of the transaction any more; the store has it or has not.
//! - A reply of class 2 to a whole message exists only with a [`crate::store::outcome::Receipt`].
//! - Whatever is refused, the octets that belong to it are read to their end and never as commands.
//!   Where that end cannot be known (a BDAT without a readable size, or in a line that is spoilt) the
//!   connection is closed.
//!
//! # Standards
//!
//! RFC 5321 (SMTP), 2920 (PIPELINING), 1870 (SIZE), 6152 (8BITMIME), 6531 (SMTPUTF8), 3030
//! (CHUNKING, without BINARYMIME), 2034 and 3463 (ENHANCEDSTATUSCODES), 9422 (LIMITS).

pub mod codec;
pub mod command;
pub mod intake;
pub mod offer;
pub mod path;
pub mod reply;
pub mod role;
pub mod server;
pub mod session;
