//! Which machine of the world is which member or client.

use crate::observer::Machine;
use synod_env::MemberId;

/// Clients' machines are numbered from here.
const FIRST_CLIENT: u64 = 1_000;

impl Machine {
    /// Its number in the world.
    pub(crate) fn id(self) -> MemberId {
        match self {
            Self::Member(number) => MemberId(number.into()),
            Self::Client(number) => MemberId(FIRST_CLIENT + u64::from(number)),
        }
    }

    /// The machine with that number.
    pub(crate) fn of(MemberId(id): MemberId) -> Self {
        let number = |id| u32::try_from(id).expect("a scenario numbers its machines in 32 bits");
        match id.checked_sub(FIRST_CLIENT) {
            Some(client) => Self::Client(number(client)),
            None => Self::Member(number(id)),
        }
    }
}
