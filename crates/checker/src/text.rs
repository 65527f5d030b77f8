//! A history as text, one event per line: for testdata, and for tools that are not Rust.
//!
//! Empty lines and lines that begin with `#` are prose. Words are separated by blanks. A time is a
//! number with one of the units `s`, `ms`, `us`, `ns`. Of bytes, letters, digits, `_`, `-`, `.`
//! and `/` stand for themselves, every other one is `\xNN`, and no byte at all is `""`.
//!
//! ```text
//! TIME cCLIENT #OP OPERATION                  a client begins an operation
//! TIME #OP done rev=N mMEMBER ANSWER          it was carried out, that member answered
//! TIME #OP refused REFUSAL                    compacted | future-revision | lease-not-found |
//!                                             lease-exists | not-done
//! TIME #OP unknown
//! TIME wWATCH created cCLIENT KEY [to=END] [start=N] rev=N [prev] [no-put] [no-delete]
//! TIME wWATCH events rev=N CHANGE [; CHANGE]...
//! TIME wWATCH progress rev=N | compacted rev=N | resumed rev=N | closed
//! TIME cCLIENT believes-in lease=N | holds lock=N token=N
//! TIME mMEMBER started N | stopped | applied N | hashed N HEX | reigns N
//! TIME healed within=TIME | hurt | settled
//!
//! OPERATION  put KEY VALUE [lease=N] [prev]
//!            del KEY [to=END] [prev]
//!            get KEY [to=END] [rev=N] [limit=N] [keys] [count] [serializable]
//!            txn [if COMPARE [& COMPARE]...] [then OP [; OP]...] [else OP [; OP]...]
//!                where COMPARE is FIELD KEY [to=END] RELATION OPERAND, FIELD one of version,
//!                create, mod, value, lease, and OP a put, del or get
//!            compact N | grant N ttl_ms=N | revoke N | keepalive N | ttl N
//! ANSWER     put [was KV] | del N [KV]... | get count=N [more] [KV]...
//!            txn then|else [; rev=N ANSWER]...
//!            compact | grant N ttl_ms=N | revoke | keepalive ttl_ms=N | keepalive gone
//!            ttl left_ms=N granted_ms=N [keys [KEY]...] | ttl gone granted_ms=N [keys [KEY]...]
//! CHANGE     put KV [was KV] | del KEY@MOD [was KV]
//! KV         KEY=VALUE@CREATE:MOD:VERSION:LEASE
//! ```

mod parse;
#[cfg(test)]
mod tests;
mod write;

pub use parse::{Malformed, parse, parse_line};
pub use write::{write, write_event};

/// Bytes as one word, as they stand in a text.
pub(crate) fn word(bytes: &[u8]) -> String {
    write::Word(bytes).to_string()
}
