//! What only the simulator judges. What a history shows is judged by [`synod_checker::Property`].

/// No member finds its disk unfit on which nothing was damaged.
pub(crate) const SOUND_DISK: &str = "sound-disk";

/// Transfers between accounts leave their sum as it is.
pub(crate) const SUM_OF_ACCOUNTS: &str = "sum-of-accounts";

/// A healed service serves again, as the checker says; and whoever waits for the end of a run
/// waits in vain for the same reason.
pub(crate) const LIVENESS: &str = synod_checker::Property::Liveness.name();

/// No assertion of a member or a client fails.
pub(crate) const NO_PANIC: &str = "no-panic";

/// A run does not go on for ever.
pub(crate) const NO_LIVELOCK: &str = "no-livelock";

#[cfg(test)]
mod tests;
