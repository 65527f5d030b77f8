//! Judges histories: what clients saw, against what a correct service could have answered.
//!
//! It knows neither the service's code nor the simulator: its models are its own. A history is a
//! list of [`Event`]s in the order of true time, which only an observer outside the service has.
//! Whoever runs the service records one, in memory or as text ([`text`]), and hands it over event
//! by event.

mod checker;
pub mod history;
mod leases;
mod ledger;
mod linear;
mod liveness;
mod locks;
mod members;
mod store;
pub mod synthetic;
pub mod text;
pub mod verdict;
mod watches;

pub use checker::{Checker, Counts, Settings, judge};
pub use history::{
    Belief, Body, Change, ClientId, Compare, DeleteRange, Event, Field, KeyValue, LeaseId, Mark,
    MemberEvent, OpId, OpReply, Operation, Outcome, Put, Range, Refusal, Relation, Response,
    Revision, StateHash, TimeNs, Txn, TxnOp, WatchEvent, WatchId, WatchRequest, What,
};
pub use leases::LeaseSettings;
pub use linear::LinearSettings;
pub use store::StoreSettings;
pub use synod_env::MemberId;
pub use verdict::{Property, Verdict, Violation};
