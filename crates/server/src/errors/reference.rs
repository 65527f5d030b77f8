//! The page `docs/reference/errors.md`: every text with its code, what it means, what to do.

use super::{ALL, Error, OUTCOME, watch};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Chapters of the page.
const CHAPTERS: &[(&str, &[(&str, &str)])] = &[
    (
        "Requests that make no sense",
        &[
            (
                "KEY_NOT_PROVIDED",
                "The key is empty. Name one; for all keys, the key is one zero byte.",
            ),
            (
                "KEY_NOT_FOUND",
                "`ignore_value` or `ignore_lease` on a key that is not there, or an operation without content in a transaction.",
            ),
            (
                "VALUE_PROVIDED",
                "`ignore_value` together with a value. Send one of the two.",
            ),
            (
                "LEASE_PROVIDED",
                "`ignore_lease` together with a lease. Send one of the two.",
            ),
            (
                "TOO_MANY_OPERATIONS",
                "More operations in a transaction than `--max-txn-ops`. Split it, or raise the limit.",
            ),
            (
                "DUPLICATE_KEY",
                "Two operations of one branch of a transaction write the same key. Keep one.",
            ),
            (
                "CLIENT_VERSION",
                "The metadata `client-api-version` is not text.",
            ),
            (
                "SORT_OPTION",
                "An order or a target of sorting that does not exist.",
            ),
            (
                "TOO_LARGE",
                "The request is above `--max-request-bytes`. Split it, or raise the limit.",
            ),
            (
                "STREAM_SORTED",
                "RangeStream sends keys in their own order. Use Range, or sort yourself.",
            ),
            (
                "STREAM_FILTERED",
                "RangeStream sends all keys of a range. Use Range, or filter yourself.",
            ),
            (
                "COMPARE_UNKNOWN",
                "A compare of a transaction of a kind that does not exist.",
            ),
            ("ALARM_UNKNOWN", "An alarm of a kind that does not exist."),
            (
                "LIMIT_OUT_OF_RANGE",
                "`synod limits set` to a value that the limit cannot have, or with a name of more than 256 bytes.",
            ),
            (
                "LIMIT_UNKNOWN",
                "`synod limits` lists the limits that can be set.",
            ),
            (
                "UNKNOWN_METHOD",
                "An action of an alarm or a downgrade that does not exist.",
            ),
        ],
    ),
    (
        "Refusals",
        &[
            (
                "COMPACTED",
                "The revision is older than what compaction has left. Read the newest, and watch from there.",
            ),
            (
                "FUTURE_REVISION",
                "The revision is not reached yet. The client has seen another cluster, or guessed.",
            ),
            (
                "NO_SPACE",
                "The state has reached its quota. Compact, delete, raise `--quota-backend-bytes`; then clear the alarm. See [SynodQuotaExceeded](../operate/runbooks.md#synodquotaexceeded).",
            ),
            (
                "LEASE_NOT_FOUND",
                "The lease has expired, was revoked, or never was. Grant another, and write again what hung on it.",
            ),
            (
                "LEASE_EXISTS",
                "A lease of that number is there. Let the server choose: number 0.",
            ),
            (
                "LEASE_TTL_TOO_LARGE",
                "More than 9,000,000,000 seconds. Name a shorter time.",
            ),
            (
                "CORRUPT",
                "The alarm CORRUPT is raised: nothing is served until a person has looked. See [SynodUnhealthy](../operate/runbooks.md#synodunhealthy).",
            ),
            (
                "NOT_LEADER",
                "Only the leader can do this. Ask it; `Status` says who leads.",
            ),
            (
                "BAD_LEADER_TRANSFEREE",
                "Leadership cannot go there: no such member, or one without a vote.",
            ),
            (
                "DOWNGRADE_FORMAT",
                "The target of a downgrade is not MAJOR.MINOR.",
            ),
            (
                "DOWNGRADE_TARGET",
                "A downgrade goes one minor version down.",
            ),
            ("NO_DOWNGRADE", "There is no downgrade to cancel."),
        ],
    ),
    (
        "Users and roles, which are off",
        &[
            (
                "ROOT_USER_MISSING",
                "There are no users yet, so there is no root, and passwords cannot be turned on.",
            ),
            ("USER_NAME_EMPTY", "A user has a name."),
            ("USER_NOT_FOUND", "There are no users yet."),
            ("ROLE_NAME_EMPTY", "A role has a name."),
            ("ROLE_NOT_FOUND", "There are no roles yet."),
            ("PERMISSION_MISSING", "A grant names a permission."),
            (
                "AUTH_NOT_ENABLED",
                "Passwords are off: leave user and password out.",
            ),
        ],
    ),
    (
        "When the member cannot, or nobody knows",
        &[
            (
                "NO_LEADER",
                "No leader is known. Clients ask again; see [SynodNoLeader](../operate/runbooks.md#synodnoleader).",
            ),
            (
                "STOPPED",
                "The member stops. Clients ask again, elsewhere or after its start.",
            ),
            (
                "TIMED_OUT",
                "No answer within the member's time. For a write, see the trailer below: it may have been done.",
            ),
            (
                "DEADLINE_EXCEEDED",
                "No answer within the time that the client gave. A write may have been done.",
            ),
            (
                "TOO_MANY_REQUESTS",
                "More requests, watches or alarms at a time than the member takes. Nothing was done; ask again later, and more slowly.",
            ),
        ],
    ),
    (
        "Locks and elections",
        &[
            (
                "LOCK_SESSION_EXPIRED",
                "The lease ended while its owner waited for the lock. Grant another and ask again.",
            ),
            (
                "LEADER_NOT_PROVIDED",
                "The request does not say in which election it leads. Send what Campaign answered.",
            ),
            (
                "NOT_ELECTED",
                "Another leads the election, or the lease ended. Campaign again.",
            ),
            (
                "NOBODY_ELECTED",
                "The election has no leader now. Observe it, or campaign.",
            ),
        ],
    ),
];

/// Why a watch is canceled.
const CANCELED: &[(&str, &str)] = &[
    (
        watch::EMPTY_RANGE,
        "The end of the range is not behind its beginning.",
    ),
    (
        watch::DUPLICATE_ID,
        "The client chose a number that another watch of the stream has. Let the server choose: number 0.",
    ),
    (
        watch::NEGATIVE_REVISION,
        "The revision to begin with is negative. With a revision that was compacted, `compact_revision` is set instead.",
    ),
    (watch::TOO_MANY, "More watches than the member takes."),
];

fn page() -> String {
    let mut page = String::from(
        "# Errors\n\
         \n\
         <!-- Printed from crates/server/src/errors.rs; `UPDATE=1 cargo test -p synod-server` rewrites it. -->\n\
         \n\
         Clients of etcd tell errors apart by the text, byte for byte, and so each text is etcd's.\n\
         A text may be answered with one code only.\n",
    );
    let mut open: BTreeMap<&str, Error> = ALL.iter().copied().collect();
    for (title, rows) in CHAPTERS {
        writeln!(
            page,
            "\n## {title}\n\n| text | code | means |\n|---|---|---|"
        )
        .unwrap();
        for (name, meaning) in *rows {
            let error = open.remove(name);
            let Error { code, text } = error.unwrap_or_else(|| panic!("{name} is told once"));
            let number = i32::from(code);
            writeln!(page, "| `{text}` | {code:?} ({number}) | {meaning} |").unwrap();
        }
    }
    assert!(open.is_empty(), "say in CHAPTERS what these mean: {open:?}");
    page.push_str(
        "\n## Watches that are canceled\n\
         \n\
         The stream goes on; the reason is in the response that cancels the watch.\n\
         \n\
         | reason | means |\n|---|---|\n",
    );
    for (reason, meaning) in CANCELED {
        writeln!(page, "| `{reason}` | {meaning} |").unwrap();
    }
    writeln!(
        page,
        "\n## Was it done?\n\
         \n\
         An answer that fails carries a trailer of Synod's own, `{OUTCOME}`.\n\
         `not-done` means that the request changed nothing and can be repeated.\n\
         `unknown` means that it may have been done, or may still be: read before it is repeated."
    )
    .unwrap();
    page
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the page lies beside the source, not in a member"
)]
fn the_reference_page_is_the_table() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/errors.md"
    );
    let page = page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/errors.md is old: UPDATE=1 cargo test -p synod-server"
    );
}
