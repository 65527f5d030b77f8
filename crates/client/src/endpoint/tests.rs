use super::address;
use std::path::Path;

#[test]
fn the_scheme_may_be_left_out() {
    let full = address("http://127.0.0.1:2379").unwrap();
    for text in [
        "127.0.0.1:2379",
        "http://127.0.0.1:2379/",
        " 127.0.0.1:2379 ",
    ] {
        assert_eq!(address(text).unwrap(), full, "{text}");
    }
    assert_eq!(address("[::1]:2379").unwrap().origin.host(), Some("[::1]"));
}

#[test]
fn anything_else_is_refused_with_a_reason() {
    for (text, reason) in [
        ("https://h:1", "TLS is not supported yet; use http"),
        ("unix://", "the path is missing"),
        ("ftp://h:1", "the scheme must be http or unix"),
        ("127.0.0.1", "the port is missing"),
        ("", "must be http://HOST:PORT"),
        ("http://h:1/path", "must be http://HOST:PORT"),
        ("h:70000", "the port is missing"),
    ] {
        let refused = address(text).unwrap_err();
        assert_eq!((refused.endpoint.as_str(), refused.reason), (text, reason));
    }
}

#[test]
fn a_socket_of_this_machine_is_its_path() {
    for (text, path) in [
        ("unix:///run/s.sock", "/run/s.sock"),
        (" unix://s:1", "s:1"),
    ] {
        let socket = address(text).unwrap().socket;
        assert_eq!(socket.as_deref(), Some(Path::new(path)), "{text}");
    }
}
