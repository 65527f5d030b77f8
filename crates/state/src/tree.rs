//! A copy-on-write ordered tree: every table of the state is one.
//!
//! A B+ tree (Bayer, McCreight 1972; Comer 1979) whose nodes are shared by reference count.
//! Cloning a [`Tree`] copies a pointer; from then on the two share all nodes, and a change copies
//! only those on the path to it that are shared (Driscoll, Sarnak, Sleator, Tarjan 1989). So apply
//! works on its tree while any number of readers hold older ones, and neither waits.
//!
//! What stays true:
//! - all leaves have the same depth, and only an empty tree has an empty node;
//! - a branch's separator `i` lies above all keys of its child `i`, and not above those of child
//!   `i + 1`;
//! - a node's weight is the sum of its elements' weights.
//!
//! Nodes may be less than half full: a node is merged with a neighbor when both fit well into
//! one, and otherwise left alone. Deletion costs less so, and depth stays logarithmic in the
//! number of insertions.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// What a tree holds and in which order.
pub trait Layout: 'static {
    /// What is stored; cheap to clone.
    type Element: Clone + Send + Sync;

    /// What elements are ordered by: a view into the element. Two elements with equal keys replace
    /// each other.
    type Key<'a>: Copy;

    /// Most elements in a leaf. Small: copying a shared leaf touches every element's count.
    const LEAF: usize = 16;

    /// Most children of a branch.
    const BRANCH: usize = 32;

    /// The element's key.
    fn key(element: &Self::Element) -> Self::Key<'_>;

    /// The total order of keys.
    fn order(a: Self::Key<'_>, b: Self::Key<'_>) -> Ordering;

    /// Appends the key as bytes, so that branches can hold keys without holding elements.
    fn pack(key: Self::Key<'_>, into: &mut Vec<u8>);

    /// The key that was packed.
    fn unpack(packed: &[u8]) -> Self::Key<'_>;

    /// What the element counts in [`Tree::weight`], for example its encoded size in bytes.
    fn weight(element: &Self::Element) -> u64;
}

/// An ordered set of elements. See the module.
pub struct Tree<L: Layout> {
    root: Option<Arc<Node<L>>>,
    count: usize,
}

/// A leaf or a branch.
enum Node<L: Layout> {
    Leaf(Leaf<L>),
    Branch(Branch<L>),
}

struct Leaf<L: Layout> {
    weight: u64,
    elements: Vec<L::Element>,
}

struct Branch<L: Layout> {
    weight: u64,
    children: Vec<Arc<Node<L>>>,
    separators: Separators,
}

/// Packed keys in one piece of memory, so that a search stays within a few cache lines instead of
/// visiting an element for each comparison: the number of keys, where each ends, the keys.
///
/// Shared by itself and never changed: a change makes all of it anew. That is rare (a child is
/// split or merged), whereas copying a branch because a child changed is not.
#[derive(Clone, PartialEq, Eq)]
struct Separators(Arc<[u8]>);

/// What an insertion did to a subtree.
enum Inserted<L: Layout> {
    /// An equal element was there; this is it.
    Replaced(L::Element),
    /// The element is new; if the node had to be split, its right half and the packed key that
    /// separates it.
    Added(Option<(Vec<u8>, Arc<Node<L>>)>),
}

impl<L: Layout> Default for Tree<L> {
    fn default() -> Self {
        Self {
            root: None,
            count: 0,
        }
    }
}

impl<L: Layout> Clone for Tree<L> {
    fn clone(&self) -> Self {
        Self {
            root: self.root.clone(),
            count: self.count,
        }
    }
}

impl<L: Layout> fmt::Debug for Tree<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl<L: Layout> Tree<L> {
    /// A tree of elements that are given in strictly ascending order. Nodes are filled to three
    /// quarters, so that the first changes after a load do not split every one of them.
    ///
    /// # Panics
    /// If the elements are not in strictly ascending order.
    #[must_use]
    pub fn from_sorted(elements: Vec<L::Element>) -> Self {
        for pair in elements.windows(2) {
            let order = L::order(L::key(&pair[0]), L::key(&pair[1]));
            assert!(
                order == Ordering::Less,
                "elements of a bulk build are {order:?}, not Less"
            );
        }
        Self::from_checked(elements)
    }

    /// As [`Tree::from_sorted`], of elements whose order the caller has checked, perhaps without
    /// having to look at each again.
    pub(crate) fn from_checked(elements: Vec<L::Element>) -> Self {
        let count = elements.len();
        let mut level: Vec<Arc<Node<L>>> = Vec::new();
        let mut elements = elements.into_iter();
        for size in even_shares(count, L::LEAF - L::LEAF / 4) {
            level.push(Arc::new(Node::leaf(elements.by_ref().take(size).collect())));
        }
        while level.len() > 1 {
            let mut above = Vec::new();
            let shares = even_shares(level.len(), L::BRANCH - L::BRANCH / 4);
            let mut nodes = level.into_iter();
            for size in shares {
                let children: Vec<_> = nodes.by_ref().take(size).collect();
                let separators: Vec<Vec<u8>> = children[1..]
                    .iter()
                    .map(|child| packed::<L>(child.first()))
                    .collect();
                let separators: Vec<&[u8]> = separators.iter().map(Vec::as_slice).collect();
                let separators = Separators::new(&separators);
                above.push(Arc::new(Node::branch(children, separators)));
            }
            level = above;
        }
        Self {
            root: level.pop(),
            count,
        }
    }

    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// There are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The sum of the elements' weights.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.root.as_ref().map_or(0, |root| root.weight())
    }

    /// Puts an element in its place; returns the equal one that was there.
    pub fn insert(&mut self, element: L::Element) -> Option<L::Element> {
        let Some(root) = &mut self.root else {
            self.root = Some(Arc::new(Node::leaf(vec![element])));
            self.count = 1;
            return None;
        };
        match insert(root, element, true) {
            Inserted::Replaced(old) => Some(old),
            Inserted::Added(split) => {
                self.count += 1;
                if let Some((separator, right)) = split {
                    let separators = Separators::new(&[&separator]);
                    *root = Arc::new(Node::branch(vec![root.clone(), right], separators));
                }
                None
            }
        }
    }

    /// Takes out the element with that key, if there is one.
    pub fn remove(&mut self, key: L::Key<'_>) -> Option<L::Element> {
        let root = self.root.as_mut()?;
        let removed = remove(root, key)?;
        self.count -= 1;
        loop {
            let only = match &**root {
                Node::Leaf(leaf) if leaf.elements.is_empty() => None,
                Node::Branch(branch) if branch.children.len() == 1 => {
                    Some(branch.children[0].clone())
                }
                Node::Leaf(_) | Node::Branch(_) => break,
            };
            match only {
                Some(child) => *root = child,
                None => {
                    self.root = None;
                    break;
                }
            }
        }
        Some(removed)
    }

    /// The element with that key.
    pub fn get(&self, key: L::Key<'_>) -> Option<&L::Element> {
        self.last_where(|other| L::order(other, key).is_le())
            .filter(|found| L::order(L::key(found), key).is_eq())
    }

    /// The last element for whose key `before` holds. `before` must hold for a prefix of the
    /// order.
    pub fn last_where(&self, before: impl Fn(L::Key<'_>) -> bool) -> Option<&L::Element> {
        let mut node = self.root.as_deref()?;
        loop {
            match node {
                Node::Branch(branch) => {
                    node = &branch.children[branch.separators.count::<L>(&before)];
                }
                Node::Leaf(leaf) => {
                    let at = leaf
                        .elements
                        .partition_point(|element| before(L::key(element)));
                    let Some(at) = at.checked_sub(1) else { break };
                    return Some(&leaf.elements[at]);
                }
            }
        }
        // The bound lies between a separator and the first element behind it.
        self.seek(before).previous()
    }

    /// The place between the elements for whose keys `before` holds and the others. `before` must
    /// hold for a prefix of the order.
    pub fn seek(&self, before: impl Fn(L::Key<'_>) -> bool) -> Cursor<'_, L> {
        let mut cursor = Cursor {
            tree: self,
            path: Vec::new(),
            leaf: &[],
            at: 0,
        };
        cursor.seek(before);
        cursor
    }

    /// The place before the first element.
    #[must_use]
    pub fn iter(&self) -> Cursor<'_, L> {
        self.seek(|_| false)
    }

    /// About the weight of the elements for whose keys `before_end` holds and `before_start` does
    /// not: that of the whole leaves among them. Both must hold for a prefix of the order.
    pub fn weight_between(
        &self,
        before_start: impl Fn(L::Key<'_>) -> bool,
        before_end: impl Fn(L::Key<'_>) -> bool,
    ) -> u64 {
        let weight_of = |children: &[Arc<Node<L>>]| -> u64 {
            children.iter().map(|child| child.weight()).sum()
        };
        let mut node = self.root.as_deref();
        while let Some(Node::Branch(branch)) = node {
            let first = branch.separators.count::<L>(&before_start);
            let last = branch.separators.count::<L>(&before_end);
            if first >= last {
                node = Some(&branch.children[first]);
                continue;
            }
            let mut weight = weight_of(&branch.children[first + 1..last]);
            // What lies to the right of the start, and to the left of the end.
            let mut left = &*branch.children[first];
            while let Node::Branch(branch) = left {
                let at = branch.separators.count::<L>(&before_start);
                weight += weight_of(&branch.children[at + 1..]);
                left = &branch.children[at];
            }
            let mut right = &*branch.children[last];
            while let Node::Branch(branch) = right {
                let at = branch.separators.count::<L>(&before_end);
                weight += weight_of(&branch.children[..at]);
                right = &branch.children[at];
            }
            return weight;
        }
        0
    }

    /// Cuts the tree into its largest subtrees of at most `weight_max` each; a leaf is never
    /// cut. Together, in order, they hold every element once.
    #[must_use]
    pub fn subtrees(&self, weight_max: u64) -> Vec<Subtree<L>> {
        fn collect<L: Layout>(node: &Arc<Node<L>>, weight_max: u64, into: &mut Vec<Subtree<L>>) {
            match &**node {
                Node::Branch(branch) if branch.weight > weight_max => {
                    for child in &branch.children {
                        collect(child, weight_max, into);
                    }
                }
                Node::Leaf(_) | Node::Branch(_) => into.push(Subtree(node.clone())),
            }
        }
        let mut into = Vec::new();
        if let Some(root) = &self.root {
            collect(root, weight_max, &mut into);
        }
        into
    }
}

impl<'a, L: Layout> IntoIterator for &'a Tree<L> {
    type Item = &'a L::Element;
    type IntoIter = Cursor<'a, L>;

    fn into_iter(self) -> Cursor<'a, L> {
        self.iter()
    }
}

/// Length of the numbers in [`Separators`].
const OFFSET_BYTES: usize = 4;

impl Separators {
    fn new(keys: &[&[u8]]) -> Self {
        let offset = |number: usize| {
            u32::try_from(number).expect("a branch has few keys, each smaller than a request")
        };
        let numbers = OFFSET_BYTES * (1 + keys.len());
        let mut packed = Vec::with_capacity(numbers + keys.iter().map(|k| k.len()).sum::<usize>());
        packed.extend_from_slice(&offset(keys.len()).to_le_bytes());
        let mut end = numbers;
        for key in keys {
            end += key.len();
            packed.extend_from_slice(&offset(end).to_le_bytes());
        }
        keys.iter().for_each(|key| packed.extend_from_slice(key));
        Self(Arc::from(packed))
    }

    fn number(&self, at: usize) -> usize {
        let at = at * OFFSET_BYTES;
        let number = self.0[at..at + OFFSET_BYTES]
            .try_into()
            .expect("four bytes are four bytes");
        u32::from_le_bytes(number) as usize
    }

    fn len(&self) -> usize {
        self.number(0)
    }

    fn get(&self, at: usize) -> &[u8] {
        let start = if at == 0 {
            OFFSET_BYTES * (1 + self.len())
        } else {
            self.number(at)
        };
        &self.0[start..self.number(at + 1)]
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|at| self.get(at))
    }

    /// How many keys there are for which `before` holds.
    fn count<L: Layout>(&self, before: impl Fn(L::Key<'_>) -> bool) -> usize {
        let mut low = 0;
        let mut high = self.len();
        while low < high {
            let middle = low.midpoint(high);
            if before(L::unpack(self.get(middle))) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn insert(&mut self, at: usize, key: &[u8]) {
        let mut keys: Vec<&[u8]> = self.iter().collect();
        keys.insert(at, key);
        *self = Self::new(&keys);
    }

    fn remove(&mut self, at: usize) -> Vec<u8> {
        let mut keys: Vec<&[u8]> = self.iter().collect();
        let removed = keys.remove(at).to_vec();
        *self = Self::new(&keys);
        removed
    }
}

/// The element's key as separators hold it.
fn packed<L: Layout>(element: &L::Element) -> Vec<u8> {
    let mut packed = Vec::new();
    L::pack(L::key(element), &mut packed);
    packed
}

/// Splits `count` into shares as even as can be, none above `share_max`.
fn even_shares(count: usize, share_max: usize) -> impl Iterator<Item = usize> {
    let shares = count.div_ceil(share_max);
    (0..shares).map(move |i| count / shares + usize::from(i < count % shares))
}

/// Inserts below `node`. `rightmost` says that no element of the tree is to the right of it.
fn insert<L: Layout>(node: &mut Arc<Node<L>>, element: L::Element, rightmost: bool) -> Inserted<L> {
    match Arc::make_mut(node) {
        Node::Leaf(leaf) => leaf.insert(element, rightmost),
        Node::Branch(branch) => branch.insert(element, rightmost),
    }
}

/// Removes below `node`, which may be left empty.
fn remove<L: Layout>(node: &mut Arc<Node<L>>, key: L::Key<'_>) -> Option<L::Element> {
    match Arc::make_mut(node) {
        Node::Leaf(leaf) => leaf.remove(key),
        Node::Branch(branch) => branch.remove(key),
    }
}

impl<L: Layout> Leaf<L> {
    fn insert(&mut self, element: L::Element, rightmost: bool) -> Inserted<L> {
        let added = L::weight(&element);
        // Appending is what the table of events only sees: on the right edge look there first.
        let append = rightmost
            && self
                .elements
                .last()
                .is_some_and(|last| L::order(L::key(last), L::key(&element)).is_lt());
        let place = if append {
            Err(self.elements.len())
        } else {
            self.place_of(L::key(&element))
        };
        let at = match place {
            Ok(at) => {
                let old = std::mem::replace(&mut self.elements[at], element);
                self.weight = self.weight + added - L::weight(&old);
                return Inserted::Replaced(old);
            }
            Err(at) => at,
        };
        if self.elements.len() < L::LEAF {
            self.elements.insert(at, element);
            self.weight += added;
            return Inserted::Added(None);
        }
        // A tree that only grows at its end gets full leaves.
        let cut = if rightmost && at == self.elements.len() {
            at
        } else {
            self.elements.len() / 2
        };
        let mut right = Vec::with_capacity(L::LEAF);
        right.extend(self.elements.drain(cut..));
        if at < cut || (at == cut && !right.is_empty()) {
            self.elements.insert(at, element);
        } else {
            right.insert(at - cut, element);
        }
        let right = Node::<L>::leaf(right);
        self.weight = self.weight + added - right.weight();
        Inserted::Added(Some((packed::<L>(right.first()), Arc::new(right))))
    }

    /// Where the key is, or where it belongs.
    fn place_of(&self, key: L::Key<'_>) -> Result<usize, usize> {
        self.elements
            .binary_search_by(|element| L::order(L::key(element), key))
    }

    fn remove(&mut self, key: L::Key<'_>) -> Option<L::Element> {
        let at = self.place_of(key).ok()?;
        let removed = self.elements.remove(at);
        self.weight -= L::weight(&removed);
        Some(removed)
    }
}

impl<L: Layout> Branch<L> {
    /// Which child a key belongs to. On the right edge it is most often the last.
    fn child_of(&self, key: L::Key<'_>, rightmost: bool) -> usize {
        let separators = &self.separators;
        if rightmost
            && let Some(last) = separators.len().checked_sub(1)
            && L::order(L::unpack(separators.get(last)), key).is_le()
        {
            return separators.len();
        }
        separators.count::<L>(|separator| L::order(separator, key).is_le())
    }

    fn insert(&mut self, element: L::Element, rightmost: bool) -> Inserted<L> {
        let at = self.child_of(L::key(&element), rightmost);
        let rightmost = rightmost && at + 1 == self.children.len();
        let weight = self.children[at].weight();
        let inserted = insert(&mut self.children[at], element, rightmost);
        let (separator, right) = match inserted {
            Inserted::Replaced(old) => {
                self.weight = self.weight + self.children[at].weight() - weight;
                return Inserted::Replaced(old);
            }
            Inserted::Added(None) => {
                self.weight = self.weight + self.children[at].weight() - weight;
                return Inserted::Added(None);
            }
            Inserted::Added(Some(split)) => split,
        };
        self.weight = self.weight + self.children[at].weight() + right.weight() - weight;
        self.children.insert(at + 1, right);
        self.separators.insert(at, &separator);
        if self.children.len() <= L::BRANCH {
            return Inserted::Added(None);
        }
        let cut = if rightmost {
            self.children.len() - 1
        } else {
            self.children.len() / 2
        };
        let right_children = self.children.split_off(cut);
        let keys: Vec<&[u8]> = self.separators.iter().collect();
        let separator = keys[cut - 1].to_vec();
        let right_separators = Separators::new(&keys[cut..]);
        self.separators = Separators::new(&keys[..cut - 1]);
        let right = Node::branch(right_children, right_separators);
        self.weight -= right.weight();
        Inserted::Added(Some((separator, Arc::new(right))))
    }

    fn remove(&mut self, key: L::Key<'_>) -> Option<L::Element> {
        let at = self.child_of(key, false);
        let removed = remove(&mut self.children[at], key)?;
        self.weight -= L::weight(&removed);
        if self.children[at].is_empty() {
            self.children.remove(at);
            if !self.children.is_empty() {
                self.separators.remove(at.saturating_sub(1));
            }
        } else if self.children[at].underfull() {
            self.merge(at);
        }
        Some(removed)
    }

    /// Puts child `at` and a neighbor together if there is room to spare in one node.
    fn merge(&mut self, at: usize) {
        let left = match at.checked_sub(1) {
            Some(left) => left,
            None if self.children.len() > 1 => 0,
            None => return,
        };
        if !self.children[left].has_room_for(&self.children[left + 1]) {
            return;
        }
        let right = self.children.remove(left + 1);
        let separator = self.separators.remove(left);
        match (Arc::make_mut(&mut self.children[left]), &*right) {
            (Node::Leaf(into), Node::Leaf(from)) => {
                into.weight += from.weight;
                into.elements.extend_from_slice(&from.elements);
            }
            (Node::Branch(into), Node::Branch(from)) => {
                into.weight += from.weight;
                into.children.extend_from_slice(&from.children);
                let mut keys: Vec<&[u8]> = into.separators.iter().collect();
                keys.push(&separator);
                keys.extend(from.separators.iter());
                into.separators = Separators::new(&keys);
            }
            (Node::Leaf(_), Node::Branch(_)) | (Node::Branch(_), Node::Leaf(_)) => {
                unreachable!("all leaves of a tree have the same depth")
            }
        }
    }
}

impl<L: Layout> Node<L> {
    fn leaf(elements: Vec<L::Element>) -> Self {
        Self::Leaf(Leaf {
            weight: elements.iter().map(L::weight).sum(),
            elements,
        })
    }

    fn branch(children: Vec<Arc<Self>>, separators: Separators) -> Self {
        Self::Branch(Branch {
            weight: children.iter().map(|child| child.weight()).sum(),
            children,
            separators,
        })
    }

    fn weight(&self) -> u64 {
        match self {
            Self::Leaf(leaf) => leaf.weight,
            Self::Branch(branch) => branch.weight,
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.elements.is_empty(),
            Self::Branch(branch) => branch.children.is_empty(),
        }
    }

    fn underfull(&self) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.elements.len() < L::LEAF / 2,
            Self::Branch(branch) => branch.children.len() < L::BRANCH / 2,
        }
    }

    /// Merging leaves a quarter free, so that the next insertion does not split again.
    fn has_room_for(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Leaf(a), Self::Leaf(b)) => {
                a.elements.len() + b.elements.len() <= L::LEAF - L::LEAF / 4
            }
            (Self::Branch(a), Self::Branch(b)) => {
                a.children.len() + b.children.len() <= L::BRANCH - L::BRANCH / 4
            }
            (Self::Leaf(_), Self::Branch(_)) | (Self::Branch(_), Self::Leaf(_)) => false,
        }
    }

    fn first(&self) -> &L::Element {
        let mut node = self;
        loop {
            match node {
                Self::Leaf(leaf) => return &leaf.elements[0],
                Self::Branch(branch) => node = &branch.children[0],
            }
        }
    }
}

impl<L: Layout> Clone for Node<L> {
    /// A copy with room to grow: it is made in order to be changed.
    fn clone(&self) -> Self {
        match self {
            Self::Leaf(leaf) => {
                let mut elements = Vec::with_capacity(L::LEAF);
                elements.extend_from_slice(&leaf.elements);
                Self::Leaf(Leaf {
                    weight: leaf.weight,
                    elements,
                })
            }
            Self::Branch(branch) => {
                let mut children = Vec::with_capacity(L::BRANCH + 1);
                children.extend_from_slice(&branch.children);
                let separators = branch.separators.clone();
                Self::Branch(Branch {
                    weight: branch.weight,
                    children,
                    separators,
                })
            }
        }
    }
}

/// A place between two elements of a tree, which moves over them in both directions.
pub struct Cursor<'a, L: Layout> {
    tree: &'a Tree<L>,
    /// The branches above the leaf, from the root, with the child taken in each.
    path: Vec<(&'a Branch<L>, usize)>,
    leaf: &'a [L::Element],
    at: usize,
}

impl<L: Layout> fmt::Debug for Cursor<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl<'a, L: Layout> Cursor<'a, L> {
    /// Moves between the elements for whose keys `before` holds and the others; quick if that is
    /// ahead in the same leaf.
    pub fn seek(&mut self, before: impl Fn(L::Key<'_>) -> bool) {
        let ahead = &self.leaf[self.at..];
        if let (Some(first), Some(last)) = (ahead.first(), ahead.last())
            && before(L::key(first))
            && !before(L::key(last))
        {
            self.at += ahead.partition_point(|element| before(L::key(element)));
            return;
        }
        self.path.clear();
        let Some(mut node) = self.tree.root.as_deref() else {
            return;
        };
        loop {
            match node {
                Node::Branch(branch) => {
                    let at = branch.separators.count::<L>(&before);
                    self.path.push((branch, at));
                    node = &branch.children[at];
                }
                Node::Leaf(leaf) => {
                    self.leaf = &leaf.elements;
                    self.at = leaf
                        .elements
                        .partition_point(|element| before(L::key(element)));
                    return;
                }
            }
        }
    }

    /// The element ahead, without moving over it.
    pub fn peek(&mut self) -> Option<&'a L::Element> {
        if self.at == self.leaf.len() && !self.next_leaf() {
            return None;
        }
        Some(&self.leaf[self.at])
    }

    /// Moves back over an element and returns it.
    pub fn previous(&mut self) -> Option<&'a L::Element> {
        if self.at == 0 && !self.previous_leaf() {
            return None;
        }
        self.at -= 1;
        Some(&self.leaf[self.at])
    }

    /// Goes to the start of the next leaf, if there is one.
    fn next_leaf(&mut self) -> bool {
        let Some(depth) = self
            .path
            .iter()
            .rposition(|(b, at)| at + 1 < b.children.len())
        else {
            return false;
        };
        self.path.truncate(depth + 1);
        self.path[depth].1 += 1;
        let (branch, at) = self.path[depth];
        let mut node = &*branch.children[at];
        loop {
            match node {
                Node::Branch(branch) => {
                    self.path.push((branch, 0));
                    node = &branch.children[0];
                }
                Node::Leaf(leaf) => {
                    self.leaf = &leaf.elements;
                    self.at = 0;
                    return true;
                }
            }
        }
    }

    /// Goes to the end of the leaf before, if there is one.
    fn previous_leaf(&mut self) -> bool {
        let Some(depth) = self.path.iter().rposition(|(_, at)| *at > 0) else {
            return false;
        };
        self.path.truncate(depth + 1);
        self.path[depth].1 -= 1;
        let (branch, at) = self.path[depth];
        let mut node = &*branch.children[at];
        loop {
            match node {
                Node::Branch(branch) => {
                    let last = branch.children.len() - 1;
                    self.path.push((branch, last));
                    node = &branch.children[last];
                }
                Node::Leaf(leaf) => {
                    self.leaf = &leaf.elements;
                    self.at = leaf.elements.len();
                    return true;
                }
            }
        }
    }
}

impl<'a, L: Layout> Iterator for Cursor<'a, L> {
    type Item = &'a L::Element;

    /// Moves over the element ahead and returns it.
    fn next(&mut self) -> Option<&'a L::Element> {
        let element = self.peek()?;
        self.at += 1;
        Some(element)
    }
}

/// A part of a tree that is contiguous in its order: a node with all below it.
///
/// Two subtrees are equal if and only if they are the same node in memory, thus have the same
/// elements; a change always makes a new node, because a `Subtree` keeps its node shared. Their
/// order means nothing: it only lets them be keys of a map.
pub struct Subtree<L: Layout>(Arc<Node<L>>);

impl<L: Layout> Subtree<L> {
    /// The sum of its elements' weights.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.0.weight()
    }

    /// Its first element.
    #[must_use]
    pub fn first(&self) -> &L::Element {
        self.0.first()
    }

    /// Calls `visit` with each element in order.
    pub fn for_each(&self, mut visit: impl FnMut(&L::Element)) {
        fn walk<L: Layout>(node: &Node<L>, visit: &mut impl FnMut(&L::Element)) {
            match node {
                Node::Leaf(leaf) => leaf.elements.iter().for_each(visit),
                Node::Branch(branch) => {
                    for child in &branch.children {
                        walk(child, visit);
                    }
                }
            }
        }
        walk(&self.0, &mut visit);
    }

    fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}

impl<L: Layout> Clone for Subtree<L> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<L: Layout> fmt::Debug for Subtree<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subtree")
            .field("weight", &self.weight())
            .finish_non_exhaustive()
    }
}

impl<L: Layout> PartialEq for Subtree<L> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<L: Layout> Eq for Subtree<L> {}

impl<L: Layout> PartialOrd for Subtree<L> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<L: Layout> Ord for Subtree<L> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.address().cmp(&other.address())
    }
}
