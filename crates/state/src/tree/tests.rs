//! The tree against a sorted vector: exhaustively where nodes are tiny, at random where they are
//! not.

use super::{Layout, Node, Subtree, Tree};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use synod_env::Prng;

/// A key, and a payload that does not take part in the order.
type Pair = (u32, u32);

trait PairLayout: for<'a> Layout<Element = Pair, Key<'a> = u32> {}

impl PairLayout for Tiny {}
impl PairLayout for Usual {}

/// The greatest key below a node.
fn last<L: PairLayout>(node: &Node<L>) -> u32 {
    match node {
        Node::Leaf(leaf) => leaf.elements[leaf.elements.len() - 1].0,
        Node::Branch(branch) => last(&branch.children[branch.children.len() - 1]),
    }
}

/// Packed keys differ in length, as real ones do.
fn packed_len(key: u32) -> usize {
    4 - key.leading_zeros() as usize / 8
}

/// Nodes so small that few elements make a deep tree.
struct Tiny;

impl Layout for Tiny {
    type Element = Pair;
    type Key<'a> = u32;
    const LEAF: usize = 2;
    const BRANCH: usize = 3;

    fn key(element: &Pair) -> u32 {
        element.0
    }

    fn order(a: u32, b: u32) -> Ordering {
        a.cmp(&b)
    }

    fn pack(key: u32, into: &mut Vec<u8>) {
        into.extend_from_slice(&key.to_le_bytes()[..packed_len(key)]);
    }

    fn unpack(packed: &[u8]) -> u32 {
        let mut bytes = [0; 4];
        bytes[..packed.len()].copy_from_slice(packed);
        u32::from_le_bytes(bytes)
    }

    fn weight(element: &Pair) -> u64 {
        1 + u64::from(element.1)
    }
}

/// Nodes as in production.
struct Usual;

impl Layout for Usual {
    type Element = Pair;
    type Key<'a> = u32;

    fn key(element: &Pair) -> u32 {
        element.0
    }

    fn order(a: u32, b: u32) -> Ordering {
        a.cmp(&b)
    }

    fn pack(key: u32, into: &mut Vec<u8>) {
        into.extend_from_slice(&key.to_le_bytes()[..packed_len(key)]);
    }

    fn unpack(packed: &[u8]) -> u32 {
        let mut bytes = [0; 4];
        bytes[..packed.len()].copy_from_slice(packed);
        u32::from_le_bytes(bytes)
    }

    fn weight(element: &Pair) -> u64 {
        1 + u64::from(element.1)
    }
}

/// Checks what the module says stays true, and returns the elements.
fn sound<L: PairLayout>(tree: &Tree<L>) -> Vec<Pair> {
    fn walk<L: PairLayout>(node: &Node<L>, depth: usize, leaves: &mut Vec<usize>) {
        match node {
            Node::Leaf(leaf) => {
                assert!(!leaf.elements.is_empty(), "a leaf is empty");
                assert!(leaf.elements.len() <= L::LEAF, "a leaf is too full");
                assert_eq!(
                    leaf.weight,
                    leaf.elements.iter().map(L::weight).sum::<u64>()
                );
                leaves.push(depth);
            }
            Node::Branch(branch) => {
                assert!(!branch.children.is_empty(), "a branch is empty");
                assert!(branch.children.len() <= L::BRANCH, "a branch is too full");
                assert_eq!(branch.separators.len() + 1, branch.children.len());
                for (i, pair) in branch.children.windows(2).enumerate() {
                    let separator = L::unpack(branch.separators.get(i));
                    assert!(
                        last(&pair[0]) < separator,
                        "separator {separator} is too low"
                    );
                    assert!(
                        separator <= pair[1].first().0,
                        "separator {separator} is too high"
                    );
                }
                assert_eq!(
                    branch.weight,
                    branch.children.iter().map(|c| c.weight()).sum::<u64>()
                );
                for child in &branch.children {
                    walk(child, depth + 1, leaves);
                }
            }
        }
    }
    let mut leaves = Vec::new();
    if let Some(root) = &tree.root {
        walk(root, 0, &mut leaves);
    }
    assert!(
        leaves.windows(2).all(|pair| pair[0] == pair[1]),
        "leaf depths {leaves:?}"
    );
    let elements: Vec<Pair> = tree.iter().copied().collect();
    assert!(
        elements.windows(2).all(|pair| pair[0].0 < pair[1].0),
        "order of {elements:?}"
    );
    assert_eq!(elements.len(), tree.len());
    assert_eq!(elements.is_empty(), tree.is_empty());
    assert_eq!(elements.iter().map(L::weight).sum::<u64>(), tree.weight());
    elements
}

/// Checks every way of looking for every bound.
fn lookups<L: PairLayout>(tree: &Tree<L>, elements: &[Pair], bound_max: u32) {
    for bound in 0..=bound_max {
        let at = elements.partition_point(|e| e.0 < bound);
        let before = |key: u32| key < bound;
        assert_eq!(
            tree.last_where(before),
            elements[..at].last(),
            "last before {bound}"
        );
        let ahead: Vec<Pair> = tree.seek(before).copied().collect();
        assert_eq!(ahead, elements[at..], "from {bound} on");
        let mut cursor = tree.seek(before);
        let mut behind: Vec<Pair> = std::iter::from_fn(|| cursor.previous().copied()).collect();
        behind.reverse();
        assert_eq!(behind, elements[..at], "back from {bound}");
        assert_eq!(
            cursor.next(),
            elements.first(),
            "forward again at the start"
        );
        for from in 0..=bound_max {
            let mut cursor = tree.seek(|key| key < from);
            cursor.peek();
            cursor.seek(before);
            let previous = cursor.previous();
            assert_eq!(
                previous,
                elements[..at].last(),
                "from {from} to before {bound}"
            );
            assert_eq!(previous.and_then(|_| cursor.next()), previous);
            assert_eq!(cursor.next(), elements.get(at), "from {from} to {bound}");
        }
    }
}

/// Calls `each` with every order of `items`.
fn permutations(items: &mut Vec<u32>, from: usize, each: &mut impl FnMut(&[u32])) {
    if from == items.len() {
        each(items);
        return;
    }
    for i in from..items.len() {
        items.swap(from, i);
        permutations(items, from + 1, each);
        items.swap(from, i);
    }
}

#[test]
fn every_order_of_insertion_gives_the_same_sound_tree() {
    permutations(&mut (1..=7).collect(), 0, &mut |order| {
        let mut tree = Tree::<Tiny>::default();
        for (step, key) in (0..).zip(order) {
            assert_eq!(tree.insert((*key, step)), None);
        }
        let keys: Vec<u32> = sound(&tree).iter().map(|e| e.0).collect();
        assert_eq!(keys, [1, 2, 3, 4, 5, 6, 7]);
    });
}

#[test]
fn every_order_of_removal_leaves_a_sound_tree_and_older_trees_alone() {
    let insertions: [&[u32]; 3] = [
        &[1, 2, 3, 4, 5, 6, 7],
        &[7, 6, 5, 4, 3, 2, 1],
        &[4, 1, 7, 2, 6, 3, 5],
    ];
    for insertion in insertions {
        let mut full = Tree::<Tiny>::default();
        insertion
            .iter()
            .for_each(|key| assert_eq!(full.insert((*key, 0)), None));
        permutations(&mut (1..=7).collect(), 0, &mut |order| {
            let mut tree = full.clone();
            let mut left: Vec<Pair> = (1..=7).map(|key| (key, 0)).collect();
            let mut held = Vec::new();
            for key in order {
                held.push((tree.clone(), left.clone()));
                assert_eq!(tree.remove(*key), Some((*key, 0)));
                assert_eq!(tree.remove(*key), None);
                left.retain(|e| e.0 != *key);
                assert_eq!(sound(&tree), left);
            }
            for (older, elements) in held {
                assert_eq!(sound(&older), elements);
            }
        });
    }
}

#[test]
fn every_bound_is_found_in_every_small_tree() {
    for count in 0..=14 {
        // Even keys, so that there are bounds on elements and between them.
        let elements: Vec<Pair> = (0..count).map(|i| (2 * i + 1, i)).collect();
        let loaded = Tree::<Tiny>::from_sorted(elements.clone());
        assert_eq!(sound(&loaded), elements);
        lookups(&loaded, &elements, 2 * count + 2);
        let mut grown = Tree::<Tiny>::default();
        elements
            .iter()
            .for_each(|e| assert_eq!(grown.insert(*e), None));
        lookups(&grown, &elements, 2 * count + 2);
    }
}

#[test]
fn an_equal_element_replaces_the_old_one_everywhere() {
    let mut tree = Tree::<Tiny>::from_sorted((0..20).map(|i| (i, 0)).collect());
    for key in 0..20 {
        assert_eq!(tree.insert((key, key + 1)), Some((key, 0)));
        sound(&tree);
    }
    let expected: Vec<Pair> = (0..20).map(|i| (i, i + 1)).collect();
    assert_eq!(sound(&tree), expected);
}

#[test]
fn appending_fills_leaves() {
    let mut tree = Tree::<Usual>::default();
    (0..10_000).for_each(|key| assert_eq!(tree.insert((key, 0)), None));
    let leaves = tree.subtrees(0).len();
    assert_eq!(leaves, 10_000_usize.div_ceil(Usual::LEAF));
}

#[test]
fn bulk_build_is_sound_at_every_size() {
    for count in 0..1_500 {
        let elements: Vec<Pair> = (0..count).map(|i| (i, i % 7)).collect();
        assert_eq!(
            sound(&Tree::<Usual>::from_sorted(elements.clone())),
            elements
        );
        assert_eq!(
            sound(&Tree::<Tiny>::from_sorted(elements.clone())),
            elements
        );
    }
}

/// Random changes with production and with tiny nodes, against a map; old trees are held for a
/// while and must not change.
fn random_changes<L: PairLayout>(seed: u64, key_max: u64, steps: usize) {
    let mut prng = Prng::new(seed);
    let mut tree = Tree::<L>::default();
    let mut map = BTreeMap::new();
    let mut held: Vec<(Tree<L>, Vec<Pair>)> = Vec::new();
    for step in 0..steps {
        let key = u32::try_from(prng.below(key_max)).unwrap();
        // Phases that mostly grow and phases that mostly shrink.
        let grows = if step / 2_000 % 2 == 0 { 3 } else { 1 };
        if prng.chance(grows, 4) {
            let payload = u32::try_from(prng.below(100)).unwrap();
            let old = map.insert(key, payload);
            assert_eq!(tree.insert((key, payload)), old.map(|old| (key, old)));
        } else {
            assert_eq!(tree.remove(key), map.remove(&key).map(|old| (key, old)));
        }
        if prng.chance(1, 100) {
            let elements: Vec<Pair> = map.iter().map(|(k, v)| (*k, *v)).collect();
            assert_eq!(sound(&tree), elements);
            if held.len() == 10 {
                let (older, elements) = held.remove(0);
                assert_eq!(sound(&older), elements);
            }
            held.push((tree.clone(), elements));
        }
    }
    for (older, elements) in held {
        assert_eq!(sound(&older), elements);
    }
}

#[test]
fn random_changes_match_a_map() {
    random_changes::<Usual>(1, 3_000, 20_000);
    random_changes::<Usual>(2, 50, 5_000);
    random_changes::<Tiny>(3, 200, 10_000);
}

fn elements_of(subtrees: &[Subtree<Usual>]) -> Vec<Pair> {
    let mut elements = Vec::new();
    subtrees
        .iter()
        .for_each(|subtree| subtree.for_each(|e| elements.push(*e)));
    elements
}

/// What is counted are whole leaves: it is short by less than one leaf at each end.
#[test]
fn the_weight_between_two_keys_is_known_but_for_the_leaves_at_the_ends() {
    let elements: Vec<Pair> = (0..20_000).map(|i| (2 * i, i % 7)).collect();
    let tree = Tree::<Usual>::from_sorted(elements.clone());
    let leaf_max = 6 * Usual::LEAF as u64;
    for start in (0..41_000).step_by(1_777) {
        for end in (0..41_000).step_by(1_333) {
            let found = tree.weight_between(|key| key < start, |key| key < end);
            let inside = elements
                .iter()
                .filter(|(key, _)| (start..end).contains(key));
            let weight: u64 = inside.map(Usual::weight).sum();
            assert!(found <= weight, "{found} of {weight} in {start}..{end}");
            let missing = weight - found;
            assert!(
                missing <= 2 * leaf_max,
                "{missing} missing in {start}..{end}"
            );
        }
    }
    let nothing = Tree::<Usual>::default();
    assert_eq!(nothing.weight_between(|_| false, |_| true), 0);
}

#[test]
fn subtrees_are_a_cut_and_change_only_along_a_path() {
    let elements: Vec<Pair> = (0..100_000).map(|i| (2 * i, 9)).collect();
    let mut tree = Tree::<Usual>::from_sorted(elements.clone());
    for weight_max in [0, 160, 5_000, 100_000, u64::MAX] {
        let before = tree.subtrees(weight_max);
        assert_eq!(elements_of(&before), elements);
        let leaf_max = 10 * Usual::LEAF as u64;
        assert!(
            before
                .iter()
                .all(|subtree| subtree.weight() <= weight_max.max(leaf_max))
        );
        let again = tree.subtrees(weight_max);
        assert!(before == again, "the same tree has the same subtrees");
        let mut changed = tree.clone();
        changed.insert((77_777, 9));
        let after = changed.subtrees(weight_max);
        let kept = after
            .iter()
            .filter(|subtree| before.contains(subtree))
            .count();
        assert_eq!(kept, before.len() - 1);
        assert_eq!(elements_of(&before), elements);
    }
    // Unshared nodes are changed in place, but never one that an identity is held of.
    let before = tree.subtrees(u64::MAX);
    tree.insert((1, 1));
    assert!(
        before != tree.subtrees(u64::MAX),
        "a changed tree is another"
    );
    assert_eq!(elements_of(&before), elements);
}

#[test]
fn unshared_nodes_are_changed_in_place() {
    let mut tree = Tree::<Usual>::from_sorted((0..1_000).map(|i| (2 * i, 0)).collect());
    let address = Arc::as_ptr(tree.root.as_ref().unwrap());
    tree.insert((501, 0));
    assert_eq!(address, Arc::as_ptr(tree.root.as_ref().unwrap()));
    let held = tree.clone();
    tree.insert((503, 0));
    assert_ne!(address, Arc::as_ptr(tree.root.as_ref().unwrap()));
    assert_eq!(held.len() + 1, tree.len());
}
