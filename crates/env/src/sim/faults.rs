//! How often each kind of fault really bit.

use super::image::Losses;
use std::collections::BTreeMap;

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// How often each kind of fault bit in a world: not how often it was set up, but how often
        /// something went otherwise than it would have without it.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Faults {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Faults {
            /// Every count by its name, also those that are zero.
            #[must_use]
            pub fn by_name(&self) -> BTreeMap<&'static str, u64> {
                BTreeMap::from([$((stringify!($name), self.$name),)+])
            }

            /// What was added since `earlier`, of the same world.
            #[must_use]
            pub fn since(&self, earlier: &Self) -> Self {
                Self { $($name: self.$name - earlier.$name,)+ }
            }
        }
    };
}

faults! {
    /// Messages lost by a link that loses some.
    messages_lost,
    /// Messages of which a second copy was sent.
    messages_duplicated,
    /// Messages that arrived after a later one of their lane.
    messages_reordered,
    /// Copies with flipped bits.
    messages_altered,
    /// Messages sent into a cut, or that would have arrived during one.
    messages_cut,
    /// Messages that took longer, since the bandwidth of their link is limited.
    messages_slowed,
    /// Messages that arrived at a member that was down.
    messages_unreceived,
    /// Messages that a receiver had not taken yet when its process ended.
    messages_forgotten,
    /// Messages refused since their lane was full.
    lanes_full,
    /// Reads that failed.
    read_errors,
    /// Writes that failed.
    write_errors,
    /// Syncs that failed.
    sync_errors,
    /// Operations on names that failed.
    name_errors,
    /// Disk operations that waited for a stall to end.
    disk_stalls,
    /// Writes for which there was no room.
    disk_full,
    /// Flipped bytes.
    rotten_bytes,
    /// Flipped bytes that were read, counted at each reading.
    rotten_bytes_read,
    /// Unsynced writes of which nothing was left after a crash or a failed sync.
    writes_lost,
    /// Unsynced writes of which some sectors were left.
    writes_torn,
    /// Changes to directories that a crash undid.
    names_lost,
    /// Disks put back to an earlier state.
    disks_rolled_back,
    /// Losses of power of a member that was up.
    crashes,
    /// Processes that were killed.
    kills,
    /// Runs of tasks held back by a pause.
    runs_paused,
    /// Runs of tasks held back by a freeze.
    runs_frozen,
    /// Timers that a change of their clock made look again.
    timers_moved,
    /// Timers set by a clock that did not run true.
    timers_skewed,
    /// Readings of a wall clock that had been set.
    wall_misread,
}

impl Faults {
    pub(super) fn lose(&mut self, losses: Losses) {
        let Losses {
            writes_lost,
            writes_torn,
            names_lost,
        } = losses;
        self.writes_lost += writes_lost;
        self.writes_torn += writes_torn;
        self.names_lost += names_lost;
    }
}
