use super::origin;

#[test]
fn the_scheme_may_be_left_out() {
    let full = origin("http://127.0.0.1:2379").unwrap();
    for text in [
        "127.0.0.1:2379",
        "http://127.0.0.1:2379/",
        " 127.0.0.1:2379 ",
    ] {
        assert_eq!(origin(text).unwrap(), full, "{text}");
    }
    assert_eq!(origin("[::1]:2379").unwrap().host(), Some("[::1]"));
}

#[test]
fn anything_else_is_refused_with_a_reason() {
    for (text, reason) in [
        ("https://h:1", "TLS is not supported yet; use http"),
        ("unix://h:1", "the scheme must be http"),
        ("127.0.0.1", "the port is missing"),
        ("", "must be http://HOST:PORT"),
        ("http://h:1/path", "must be http://HOST:PORT"),
        ("h:70000", "the port is missing"),
    ] {
        let refused = origin(text).unwrap_err();
        assert_eq!((refused.endpoint.as_str(), refused.reason), (text, reason));
    }
}
