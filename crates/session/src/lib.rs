//! The client's logic, without input or output: which member to ask, when to ask again and when
//! never, how a watch goes on after a broken connection, how long a lease can be counted on.
//!
//! Each part is a machine that a driver owns. The driver tells it what happened and what time it
//! is, asks with `step` what to do next, and does that: with sockets in `synod-client`, with
//! simulated links in the simulator. Nothing here reads a clock or draws a random number except
//! from what it is handed, so the same inputs give the same steps.
//!
//! - [`Endpoints`] says which member to ask and how long to leave a failing one alone.
//! - [`Call`] is one request with all its attempts; it ends once, in one of three [`Outcome`]s.
//! - [`Lease`] says when to renew and how long the holder may rely on it.
//! - [`Watch`] joins the streams of a watch into one sequence without gap or repetition.
//!
//! A driver of calls is a loop:
//!
//! ```text
//! loop {
//!     match call.step(now, &mut session) {
//!         Step::Send { attempt, endpoint, .. } => send it; whenever it ends, call.report(attempt, how)
//!         Step::Wait(until)                    => wait for a report, but not beyond `until`
//!         Step::End(outcome)                   => that is it
//!     }
//! }
//! ```

mod budget;
mod call;
mod endpoints;
mod lease;
mod watch;

pub use budget::{Budget, BudgetConfig};
pub use call::{Attempt, Call, CallConfig, Class, Ended, Outcome, Refusal, Step};
pub use endpoints::{Backoff, Choice, Endpoint, Endpoints};
pub use lease::{Lease, LeaseConfig, LeaseStep, LossReason, Renewal, Standing};
pub use watch::{Delivery, Message, Revision, StreamId, Watch, WatchConfig, WatchEnd, WatchStep};

use synod_env::Prng;

/// What all calls and streams of one client share.
#[derive(Clone, Debug)]
pub struct Session {
    /// The members that can be asked.
    pub endpoints: Endpoints,
    /// How much asking again is still reasonable.
    pub budget: Budget,
}

impl Session {
    /// A session over `endpoint_count` members, none of which has been asked.
    ///
    /// # Panics
    /// If there is no endpoint.
    #[must_use]
    pub fn new(endpoint_count: usize, backoff: Backoff, budget: BudgetConfig, prng: Prng) -> Self {
        Self {
            endpoints: Endpoints::new(endpoint_count, backoff, prng),
            budget: Budget::new(budget),
        }
    }
}

#[cfg(test)]
mod tests;
