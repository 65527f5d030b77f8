use super::Lease;
use synod_log::Index;

/// A member that leads epoch 3 alone, with its first entry applied.
fn held() -> Lease {
    let lease = Lease::new(Index(4));
    lease.vote(Some(3));
    lease.applying(Index(5), 3, || true);
    lease
}

#[test]
fn nothing_is_proved_before_the_epoch_has_an_applied_entry() {
    let lease = Lease::new(Index(4));
    assert_eq!(lease.read(), None);
    lease.vote(Some(3));
    assert_eq!(lease.read(), None);
    // What is applied now was appended in an earlier epoch.
    lease.applying(Index(4), 2, || true);
    assert_eq!(lease.read(), None);
    lease.applying(Index(5), 3, || true);
    assert_eq!(lease.read(), Some(Index(5)));
}

#[test]
fn the_index_follows_what_is_applied() {
    let lease = held();
    lease.applying(Index(9), 3, || {
        unreachable!("the membership has not changed")
    });
    assert_eq!(lease.read(), Some(Index(9)));
}

#[test]
fn a_vote_for_another_ends_the_proof_until_the_next_epoch_of_this_member_opens() {
    let lease = held();
    lease.vote(None);
    assert_eq!(lease.read(), None);
    lease.vote(Some(5));
    assert_eq!(lease.read(), None);
    lease.applying(Index(6), 4, || {
        unreachable!("the membership has not changed")
    });
    assert_eq!(lease.read(), None);
    lease.applying(Index(7), 5, || {
        unreachable!("the membership has not changed")
    });
    assert_eq!(lease.read(), Some(Index(7)));
}

#[test]
fn a_membership_ends_the_proof_from_its_append_to_its_application() {
    let lease = held();
    lease.membership_appended(Index(7));
    assert_eq!(lease.read(), None);
    lease.applying(Index(6), 3, || {
        unreachable!("the new membership is not applied yet")
    });
    assert_eq!(lease.read(), None);
    lease.applying(Index(7), 3, || true);
    assert_eq!(lease.read(), Some(Index(7)));
}

#[test]
fn a_membership_with_others_ends_the_proof_for_good() {
    let lease = held();
    lease.membership_appended(Index(6));
    lease.applying(Index(6), 3, || false);
    lease.applying(Index(7), 3, || {
        unreachable!("the membership has not changed")
    });
    assert_eq!(lease.read(), None);
}

#[test]
fn of_two_memberships_under_way_the_newer_counts() {
    let lease = held();
    lease.membership_appended(Index(6));
    lease.membership_appended(Index(8));
    lease.applying(Index(7), 3, || {
        unreachable!("the newer membership is not applied yet")
    });
    assert_eq!(lease.read(), None);
    lease.applying(Index(8), 3, || true);
    assert_eq!(lease.read(), Some(Index(8)));
}

#[test]
#[should_panic(expected = "applied 3 after 5")]
fn applying_backwards_is_a_defect() {
    held().applying(Index(3), 3, || true);
}
