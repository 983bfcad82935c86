//! Seals are stable, and nobody makes or changes one.

use proptest::prelude::*;

use super::*;

fn key(byte: u8) -> SealKey {
    SealKey::new(&[byte; 32])
}

fn route(name: &str) -> RouteName {
    name.parse().unwrap()
}

fn on(route: &RouteName) -> Belongs<'_> {
    Belongs { route, owner: None }
}

fn home(key: &SealKey) -> (BackendTag, EndpointTag) {
    let backend = "search-v1".parse().unwrap();
    (
        key.backend_tag(&backend),
        key.endpoint_tag("http://127.0.0.1:3001"),
    )
}

fn sealed(key: &SealKey, id: &str) -> String {
    seal(key, on(&route("search")), home(key), id).unwrap()
}

#[test]
fn seals_stay_what_they_are() {
    assert_eq!(
        sealed(&key(7), "1868a90c-4eaa"),
        "sb1.l8rP-e25Kq5MWzspCf6PBxjq8kZ0O-kmy5jpuIwVYYs.1868a90c-4eaa"
    );
    assert_eq!(
        sealed(&key(8), "x"),
        "sb1.v5thT_fF9r_AfVvPEF9xOF-M3Iq_vp6pujAZqtz4cW4.x"
    );
}

#[test]
fn an_opened_id_tells_what_was_sealed() {
    let (old, new) = (key(1), key(2));
    let text = sealed(&old, "a.b.c");

    let opened = open(&[new, old.clone()], on(&route("search")), &text).unwrap();

    assert_eq!((opened.id, opened.key), ("a.b.c", 1));
    assert_eq!((opened.backend, opened.endpoint), home(&old));
}

#[test]
fn a_seal_holds_for_its_route_and_key_alone() {
    let text = sealed(&key(1), "id");

    assert_eq!(
        open(&[key(1)], on(&route("searc")), &text),
        Err(SealError::Foreign)
    );
    assert_eq!(
        open(&[key(2)], on(&route("search")), &text),
        Err(SealError::Foreign)
    );
    assert_eq!(
        open(&[], on(&route("search")), &text),
        Err(SealError::Foreign)
    );
}

#[test]
fn a_seal_holds_for_its_owner_alone() {
    let (key, route) = (key(1), route("search"));
    let owned = |owner| Belongs {
        route: &route,
        owner,
    };
    let keys = [key.clone()];
    let owners = [None, Some(""), Some("ann"), Some("anne"), Some("sb1.")];
    for opener in owners {
        let text = seal(&key, owned(opener), home(&key), "id").unwrap();
        for other in owners {
            let opened = open(&keys, owned(other), &text);

            assert_eq!(opened.is_ok(), opener == other, "{opener:?} {other:?}");
        }
    }
}

#[test]
fn bytes_do_not_move_between_route_and_id() {
    let key = key(1);
    let text = seal(&key, on(&route("ab")), home(&key), "cd").unwrap();
    let moved = text.replace(".cd", ".bcd");

    assert_eq!(
        open(&[key], on(&route("a")), &moved),
        Err(SealError::Foreign)
    );
}

#[test]
fn ids_that_no_header_should_carry_are_not_sealed() {
    let key = key(1);
    let try_seal = |id: &str| seal(&key, on(&route("search")), home(&key), id);

    for id in ["a b", "a\n", "\u{7f}", "é", "\0"] {
        assert_eq!(try_seal(id), Err(SealError::Character), "{id:?}");
    }
    assert_eq!(try_seal(""), Err(SealError::Length { length: 0 }));
    let longest = "x".repeat(MAX_ID_BYTES);
    let text = try_seal(&longest).unwrap();
    assert_eq!(text.len(), MAX_SEALED_BYTES);
    assert_eq!(
        open(std::slice::from_ref(&key), on(&route("search")), &text)
            .unwrap()
            .id,
        longest
    );
    assert!(matches!(
        try_seal(&(longest + "x")),
        Err(SealError::Length { .. })
    ));
}

#[test]
fn what_was_never_sealed_is_foreign() {
    let long = format!("sb1.{}", "A".repeat(MAX_SEALED_BYTES));
    let empty_id = format!("sb1.{}.", "A".repeat(SEAL_CHARS));
    for text in [
        "", "sb1.", "sb1..", "sb2.x.y", "é", "1868a90c", &long, &empty_id,
    ] {
        let opened = open(&[key(1)], on(&route("search")), text);

        assert_eq!(opened, Err(SealError::Foreign), "{text:?}");
    }
}

#[test]
fn tags_tell_nothing_without_the_key() {
    let backend = "search-v1".parse().unwrap();

    assert_ne!(key(1).backend_tag(&backend), key(2).backend_tag(&backend));
    assert_ne!(
        key(1).backend_tag(&backend).0,
        key(1).endpoint_tag("search-v1").0
    );
    assert_eq!(format!("{:?}", key(0x41)), "SealKey(secret)");
}

proptest! {
    #[test]
    fn what_is_sealed_opens(secret: [u8; 32], id in "[!-~]{1,80}", name in "[a-z][a-z0-9-]{0,20}") {
        let key = SealKey::new(&secret);
        let text = seal(&key, on(&route(&name)), home(&key), &id).unwrap();

        prop_assert!(text.bytes().all(|b| b.is_ascii_graphic()));
        let keys = [key.clone()];
        let opened = open(&keys, on(&route(&name)), &text).unwrap();
        prop_assert_eq!((opened.backend, opened.endpoint, opened.id), (home(&key).0, home(&key).1, &*id));
    }

    #[test]
    fn one_changed_byte_is_refused(at: prop::sample::Index, to in b'!'..=b'~') {
        let key = key(3);
        let mut bytes = sealed(&key, "0123456789abcdef").into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        let text = String::from_utf8(bytes).unwrap();

        prop_assert_eq!(open(&[key], on(&route("search")), &text), Err(SealError::Foreign));
    }

    #[test]
    fn one_byte_more_or_less_is_refused(at: prop::sample::Index, byte in b'!'..=b'~') {
        let key = key(3);
        let text = sealed(&key, "0123456789abcdef");
        let at = at.index(text.len());
        let (mut more, mut less) = (text.clone(), text.clone());
        more.insert(at, char::from(byte));
        less.remove(at);

        for changed in [more, less].iter().filter(|changed| **changed != text) {
            prop_assert_eq!(open(std::slice::from_ref(&key), on(&route("search")), changed), Err(SealError::Foreign));
        }
    }

    #[test]
    fn any_text_can_be_opened(text: String) {
        prop_assert_eq!(open(&[key(3)], on(&route("search")), &text), Err(SealError::Foreign));
    }
}
