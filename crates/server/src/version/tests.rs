use super::{ApiVersion, InvalidApiVersion};

#[test]
fn a_version_is_three_numbers_that_begin_with_3() {
    for text in ["3.6.4", "3.5.13", "3.7.0", "3.0.0"] {
        let version: ApiVersion = text.parse().unwrap();
        assert_eq!(version.to_string(), text);
    }
    for text in [
        "",
        "3",
        "3.6",
        "3.6.4.1",
        "2.6.4",
        "v3.6.4",
        "3.6.+4",
        "3.6.",
        "3.6.4-rc.0",
    ] {
        assert_eq!(text.parse::<ApiVersion>(), Err(InvalidApiVersion), "{text}");
    }
}

#[test]
fn a_cluster_leaves_the_patch_level_out() {
    let version: ApiVersion = "3.5.17".parse().unwrap();
    assert_eq!(version.of_cluster().to_string(), "3.5.0");
}
