//! Checks a server with the Rust client `etcd-client`: `interop-client HOST:PORT`.
//!
//! Prints `ok NAME` or `failed NAME: why` for each check, and `done N` at the end.

mod keys;
mod leases;
mod member;
mod watches;

use etcd_client::{Client, Error};
use std::pin::Pin;
use std::time::Duration;

const CHECK_WITHIN: Duration = Duration::from_secs(30);

/// What a check ends in: nothing to say, or what was not as it must be.
type Verdict = Result<(), Wrong>;

/// What was not as it must be.
struct Wrong(String);

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

/// A check uses keys of its own, which begin with its name.
struct Check {
    name: &'static str,
    run: fn(Client) -> Pin<Box<dyn Future<Output = Verdict>>>,
}

/// Lists checks by the names of their functions.
macro_rules! checks {
    ($($module:ident :: $name:ident),* $(,)?) => {
        [$(Check { name: stringify!($name), run: |client| Box::pin($module::$name(client)) }),*]
    };
}

/// Compares, and names both sides when they differ.
macro_rules! same {
    ($left:expr, $right:expr) => {
        match (&$left, &$right) {
            (left, right) if left == right => {}
            (left, right) => {
                let what = stringify!($left);
                return Err(crate::Wrong(format!("{what} is {left:?}, not {right:?}")));
            }
        }
    };
}

/// Holds a condition that is not a comparison.
macro_rules! holds {
    ($condition:expr) => {
        if !$condition {
            return Err(crate::Wrong(format!("not so: {}", stringify!($condition))));
        }
    };
}

pub(crate) use {holds, same};

/// Holds that an error is a refusal with this code and this text: clients compare both.
fn refused<T>(answer: Result<T, Error>, code: i32, text: &str) -> Verdict {
    match answer {
        Ok(_) => Err(Wrong(format!("it was done, not refused with {text:?}"))),
        Err(Error::GRpcStatus(status)) => {
            same!(status.message(), text);
            same!(i32::from(status.code()), code);
            Ok(())
        }
        Err(other) => Err(Wrong(format!("{other}, not {text:?}"))),
    }
}

/// Codes of gRPC, by their numbers on the wire.
mod code {
    pub(crate) const INVALID_ARGUMENT: i32 = 3;
    pub(crate) const NOT_FOUND: i32 = 5;
    pub(crate) const FAILED_PRECONDITION: i32 = 9;
    pub(crate) const OUT_OF_RANGE: i32 = 11;
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let Some(endpoint) = std::env::args().nth(1) else {
        eprintln!("usage: interop-client HOST:PORT");
        std::process::exit(2);
    };
    let checks = checks![
        keys::a_key_comes_back_as_it_was_put,
        keys::keys_and_values_are_any_bytes,
        keys::an_open_prefix_reaches_the_last_key,
        keys::a_count_ignores_the_limit,
        keys::revision_bounds_filter_before_the_limit,
        keys::an_old_revision_can_be_read,
        keys::requests_are_refused_in_the_words_clients_compare,
        keys::a_large_value_goes_both_ways,
        keys::a_request_beyond_the_limit_is_refused,
        keys::a_range_comparison_holds_for_every_key,
        keys::a_nested_transaction_follows_the_state_before_it,
        keys::a_refused_transaction_changes_nothing,
        keys::a_transaction_has_at_most_128_operations,
        keys::concurrent_increments_are_all_counted,
        keys::many_requests_share_one_connection,
        leases::a_lease_may_choose_its_number_once,
        leases::a_lease_too_long_is_refused,
        leases::revoking_deletes_all_keys_in_one_revision,
        leases::an_expired_lease_deletes_its_keys,
        leases::a_lease_kept_alive_does_not_expire,
        leases::what_is_not_there_has_no_time_to_live,
        leases::a_comparison_sees_the_lease_of_a_key,
        member::the_member_describes_itself,
        member::headers_agree_with_the_member_list,
        watches::a_live_watch_sees_each_change_once_and_in_order,
        watches::two_watches_share_a_stream,
        watches::a_duplicate_number_is_refused,
        watches::filters_and_previous_values,
        watches::a_replay_comes_before_what_is_new,
        watches::a_large_replay_comes_in_fragments,
        watches::progress_is_told_when_asked,
        watches::a_watch_from_the_future_waits_for_it,
        watches::a_watch_of_what_was_compacted_is_told_where_to_begin,
    ];
    let total = checks.len();
    for Check { name, run } in checks {
        match tokio::time::timeout(CHECK_WITHIN, connect_and_run(&endpoint, run)).await {
            Ok(Ok(())) => println!("ok {name}"),
            Ok(Err(Wrong(why))) => println!("failed {name}: {}", why.replace('\n', " ")),
            Err(_) => println!("failed {name}: no end after {CHECK_WITHIN:?}"),
        }
    }
    println!("done {total}");
}

async fn connect_and_run(
    endpoint: &str,
    run: fn(Client) -> Pin<Box<dyn Future<Output = Verdict>>>,
) -> Verdict {
    run(Client::connect([endpoint], None).await?).await
}
