//! Locks by the order in which their holders act.
//!
//! A lock's token is the revision at which its holder came into the line, so it grows from holder
//! to holder. Whoever acts as the holder says so with the token. If somebody with a smaller token
//! acts later, two held the lock at once: this is what a resource finds that refuses old tokens
//! (Kleppmann, "How to do distributed locking", 2016; Burrows, "The Chubby lock service", OSDI
//! 2006, section 2.4).

use crate::history::{ClientId, Revision, TimeNs};
use crate::verdict::{Property, Violation};
use std::collections::BTreeMap;

/// Judges locks.
#[derive(Clone, Debug, Default)]
pub(crate) struct LockJudge {
    /// Who acted last as the holder of a lock.
    last: BTreeMap<u64, Holder>,
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    client: ClientId,
    token: Revision,
    at: TimeNs,
}

impl LockJudge {
    /// A client acts now as the holder of a lock.
    pub(crate) fn believed(
        &mut self,
        at: TimeNs,
        client: ClientId,
        lock: u64,
        token: Revision,
    ) -> Result<(), Violation> {
        let holder = Holder { client, token, at };
        let before = self.last.insert(lock, holder).unwrap_or(holder);
        if before.token < token || (before.token == token && before.client == client) {
            return Ok(());
        }
        Err(Violation {
            property: Property::LockExclusive,
            at,
            witness: format!(
                "client {} acts as the holder of lock {lock} with token {token}, but client {} did \
                 so at {} with token {}",
                client.0, before.client.0, before.at, before.token
            ),
        })
    }
}
