//! Databases made by hand, page by page.

use super::*;

const SIZE: usize = 512;

fn page(number: u64, kind: u16, count: u16, body: &[u8]) -> Vec<u8> {
    let mut page = number.to_le_bytes().to_vec();
    page.extend_from_slice(&kind.to_le_bytes());
    page.extend_from_slice(&count.to_le_bytes());
    page.extend_from_slice(&0_u32.to_le_bytes());
    page.extend_from_slice(body);
    assert!(page.len() <= SIZE, "{} bytes", page.len());
    page.resize(SIZE, 0);
    page
}

fn meta_page(number: u64, root: u64, end: u64, transaction: u64) -> Vec<u8> {
    let mut meta = Vec::new();
    for field in [MAGIC, VERSION, 512, 0] {
        meta.extend_from_slice(&field.to_le_bytes());
    }
    for field in [root, 0, 0, end, transaction] {
        meta.extend_from_slice(&field.to_le_bytes());
    }
    meta.extend_from_slice(&fnv_1a(&meta).to_le_bytes());
    page(number, META, 0, &meta)
}

/// Keys with values; those with a flag of 1 are buckets.
fn leaf_page(number: u64, leaves: &[(u32, &[u8], &[u8])]) -> Vec<u8> {
    let (mut elements, mut data) = (Vec::new(), Vec::new());
    for (place, (flags, key, value)) in leaves.iter().enumerate() {
        let at = (leaves.len() - place) * ELEMENT_BYTES + data.len();
        for field in [*flags as usize, at, key.len(), value.len()] {
            elements.extend_from_slice(&u32::try_from(field).unwrap().to_le_bytes());
        }
        data.extend_from_slice(key);
        data.extend_from_slice(value);
    }
    elements.extend_from_slice(&data);
    page(
        number,
        LEAF,
        u16::try_from(leaves.len()).unwrap(),
        &elements,
    )
}

fn branch_page(number: u64, children: &[u64]) -> Vec<u8> {
    let mut elements = Vec::new();
    for child in children {
        elements.extend_from_slice(&[0; 8]);
        elements.extend_from_slice(&child.to_le_bytes());
    }
    page(
        number,
        BRANCH,
        u16::try_from(children.len()).unwrap(),
        &elements,
    )
}

/// A bucket `b` with the tree that begins at page 3.
fn database(pages: &[Vec<u8>]) -> Database {
    let end = 3 + pages.len() as u64;
    let mut root = 3_u64.to_le_bytes().to_vec();
    root.extend_from_slice(&[0; 8]);
    let mut bytes = [
        meta_page(0, 2, end, 7),
        meta_page(1, 2, end, 6),
        leaf_page(2, &[(1, b"b", &root)]),
    ]
    .concat();
    bytes.extend(pages.concat());
    Database::open(bytes.into()).unwrap()
}

fn entries(database: &Database) -> Result<Vec<(Bytes, Bytes)>, Damaged> {
    let mut entries = Vec::new();
    let bucket = database.bucket(b"b")?.expect("it has one");
    bucket.for_each(|key, value| {
        entries.push((key, value));
        Ok(())
    })?;
    Ok(entries)
}

#[test]
fn a_tree_is_read_in_order() {
    let database = database(&[
        branch_page(3, &[4, 5]),
        leaf_page(4, &[(0, b"a", b"1"), (0, b"b", b"")]),
        leaf_page(5, &[(0, b"c", b"3"), (1, b"inner", b"0123456789abcdef")]),
    ]);
    let read = entries(&database).unwrap();
    let read: Vec<_> = read
        .iter()
        .map(|(key, value)| (&key[..], &value[..]))
        .collect();
    assert_eq!(read, [(&b"a"[..], &b"1"[..]), (b"b", b""), (b"c", b"3")]);
    assert!(database.bucket(b"c").unwrap().is_none());
}

#[test]
fn a_small_bucket_stands_inside_its_value() {
    let mut inline = vec![0; BUCKET_HEADER];
    let inner = leaf_page(0, &[(0, b"k", b"v")]);
    inline.extend_from_slice(&inner[..50]);
    let bytes = [
        meta_page(0, 2, 3, 1),
        meta_page(1, 9, 9, 0),
        leaf_page(2, &[(1, b"b", &inline)]),
    ];
    let database = Database::open(bytes.concat().into()).unwrap();
    assert_eq!(entries(&database).unwrap(), [("k".into(), "v".into())]);
}

#[test]
fn the_newer_meta_that_is_whole_counts() {
    let old = leaf_page(2, &[]);
    let new = leaf_page(3, &[(1, b"b", &[0; 40])]);
    let pages = |first: Vec<u8>, second: Vec<u8>| {
        let bytes = [first, second, old.clone(), new.clone()].concat();
        Database::open(bytes.into()).map(|database| database.root)
    };
    let (older, newer) = (meta_page(0, 2, 4, 4), meta_page(1, 3, 4, 5));
    assert_eq!(pages(older.clone(), newer.clone()), Ok(3));
    let mut torn = newer.clone();
    torn[PAGE_HEADER + 20] ^= 1;
    assert_eq!(pages(older.clone(), torn.clone()), Ok(2));
    let mut gone = older;
    gone[..100].fill(0);
    assert_eq!(
        pages(gone.clone(), newer),
        Ok(3),
        "the size of a page is found out"
    );
    assert!(pages(gone, torn).is_err());
}

#[test]
fn what_leads_astray_is_found_out() {
    let leaf = || leaf_page(4, &[(0, b"a", b"1")]);
    let damaged = |pages: &[Vec<u8>]| entries(&database(pages)).unwrap_err();
    // A tree that leads back to itself, and one that comes to a page twice.
    let circle = damaged(&[branch_page(3, &[3])]);
    assert_eq!(circle.expected, "a page that was not met before");
    let twice = damaged(&[branch_page(3, &[4, 4]), leaf()]);
    assert_eq!(twice.expected, "a page that was not met before");
    // Beyond the last page, and beyond the end of the file.
    assert_eq!(damaged(&[branch_page(3, &[5]), leaf()]).expected, "a page");
    assert_eq!(
        damaged(&[branch_page(3, &[u64::MAX]), leaf()]).expected,
        "a page"
    );
    let mut long = leaf();
    long[12] = 1;
    assert_eq!(damaged(&[branch_page(3, &[4]), long]).expected, "a page");
    // A page that another one was written over.
    assert_eq!(
        damaged(&[branch_page(3, &[4]), leaf_page(5, &[])]).expected,
        "a page's own number"
    );
    assert_eq!(
        damaged(&[meta_page(3, 2, 4, 1)]).expected,
        "a branch or a leaf"
    );
    let unsorted = leaf_page(3, &[(0, b"b", b""), (0, b"a", b"")]);
    assert_eq!(damaged(&[unsorted]).expected, "keys in order");
    let mut crowded = leaf_page(3, &[]);
    crowded[10] = 200;
    assert_eq!(
        damaged(&[crowded]).expected,
        "as many elements as the page has room for"
    );
    for field in [4, 8, 12] {
        let mut far = leaf_page(3, &[(0, b"a", b"1")]);
        far[PAGE_HEADER + field + 1] = 0xff;
        let found = damaged(&[far]);
        assert_eq!(
            found.expected, "a key and a value within their page",
            "field {field}"
        );
        assert_eq!(found.offset, 3 * SIZE + PAGE_HEADER);
    }
}
