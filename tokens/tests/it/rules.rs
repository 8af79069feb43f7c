//! What a sound token opens: URI rules, methods, networks.

use proptest::prelude::*;
use tokens::{
    Claims, Component, Match, PathFault, Reject, Renewal, RenewalKind, Request, Rule, Scope,
};

use crate::{NOW, TRACK, key, listener, request, verdict};

fn path_rule(matches: Match) -> Claims {
    Claims {
        catu: vec![Rule::path(matches)],
        ..Claims::default()
    }
}

#[test]
fn a_track_token_opens_that_track_only() {
    let check = |path: &str| verdict(&listener(), &request(path));
    assert_eq!(check(&format!("/media/{TRACK}/00ff/opus-96.mp4")), Ok(()));
    assert_eq!(check(&format!("/v1/tracks/{TRACK}/index.m3u8")), Ok(()));
    for path in [
        format!("/media/{TRACK}0/00ff/opus-96.mp4"),
        format!("/media/{}/x", &TRACK[..TRACK.len() - 1]),
        format!("/media/{TRACK}"),
        format!("/v1/{TRACK}/x"),
        format!("/x/media/{TRACK}/x"),
        format!("/v1/playlists/{TRACK}/x"),
        "/".into(),
    ] {
        assert_eq!(check(&path), Err(Reject::Uri(Component::Path)), "{path}");
    }
}

#[test]
fn a_token_for_all_opens_media_and_manifests() {
    let claims = listener().scope(Scope::All);
    assert_eq!(claims.catu.len(), 1);
    assert_eq!(verdict(&claims, &request("/media/t1/r/flac.mp4")), Ok(()));
    assert_eq!(
        verdict(&claims, &request("/v1/playlists/p/index.m3u8")),
        Ok(())
    );
    assert_eq!(
        verdict(&claims, &request("/api/v1/albums")),
        Err(Reject::Uri(Component::Path))
    );
    assert_eq!(
        verdict(&claims, &request("/mediax/a")),
        Err(Reject::Uri(Component::Path))
    );
}

#[test]
fn prefixes_end_where_they_say() {
    let claims = path_rule(Match::Prefix("/a/1/".into()));
    assert_eq!(verdict(&claims, &request("/a/1/x")), Ok(()));
    assert_eq!(
        verdict(&claims, &request("/a/10/x")),
        Err(Reject::Uri(Component::Path))
    );
    let hostile = listener().scope(Scope::Track("x|.*".into()));
    assert_eq!(
        verdict(&hostile, &request("/media/y/x")),
        Err(Reject::Uri(Component::Path))
    );
}

#[test]
fn ambiguous_paths_are_refused_whatever_the_token_says() {
    for (path, fault) in [
        (format!("/media/{TRACK}/../other/x"), PathFault::DotSegment),
        (
            format!("/media/{TRACK}/%2e%2e/other/x"),
            PathFault::EncodedDot,
        ),
        (
            format!("/media/{TRACK}/..%2fother"),
            PathFault::EncodedSeparator,
        ),
        (format!("/media/{TRACK}/%252e"), PathFault::DoubleEncoding),
        (format!("/media/{TRACK}//x"), PathFault::EmptySegment),
        (format!("/media/{TRACK}/..\\x"), PathFault::Backslash),
    ] {
        assert_eq!(
            verdict(&listener(), &request(&path)),
            Err(Reject::Path(fault)),
            "{path}"
        );
        assert_eq!(
            verdict(&Claims::default(), &request(&path)),
            Err(Reject::Path(fault)),
            "{path}"
        );
    }
}

#[test]
fn every_component_and_match_type() {
    use Component::*;
    let path = "/a/b/song.tar.gz";
    let base = Request {
        query: "x=1&y=2",
        ..request(path)
    };
    let sha256 = |text: &str| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        Match::Sha256(digest.as_ref().try_into().unwrap())
    };
    for (component, value, other) in [
        (Scheme, "https", "http"),
        (Host, "music.example", "example"),
        (Port, "8443", "443"),
        (Path, path, "/a/b/song.tar.gzz"),
        (Query, "x=1&y=2", "x=1"),
        (ParentPath, "/a/b", "/a"),
        (Filename, "song.tar.gz", "song"),
        (Stem, "song", "song.tar"),
        (Extension, ".tar.gz", ".gz"),
    ] {
        let check = |matches| verdict(&Claims::default().rule(component, matches), &base);
        let wrong = Err(Reject::Uri(component));
        assert_eq!(check(Match::Exact(value.into())), Ok(()), "{component:?}");
        assert_eq!(check(Match::Exact(other.into())), wrong, "{component:?}");
        assert_eq!(check(Match::Prefix(value[..2].into())), Ok(()));
        assert_eq!(check(Match::Prefix(value[1..].into())), wrong);
        assert_eq!(check(Match::Suffix(value[2..].into())), Ok(()));
        assert_eq!(check(Match::Suffix(value[..2].into())), wrong);
        assert_eq!(check(Match::Contains(value[1..3].into())), Ok(()));
        assert_eq!(check(Match::Contains("zz".into())), wrong);
        assert_eq!(check(Match::Regex(r"^[\w./=&]+\w$".into())), Ok(()));
        assert_eq!(check(Match::Regex("^z".into())), wrong);
        assert_eq!(check(sha256(value)), Ok(()));
        assert_eq!(check(sha256(other)), wrong);
    }
    let host = Request {
        host: "Music.Example.",
        ..base
    };
    assert_eq!(
        verdict(
            &Claims::default().rule(Host, Match::Exact("music.example".into())),
            &host
        ),
        Ok(())
    );
}

#[test]
fn all_rules_must_hold() {
    let claims =
        path_rule(Match::Prefix("/a/".into())).rule(Component::Path, Match::Suffix(".mp4".into()));
    let claims = claims.rule(Component::Scheme, Match::Exact("https".into()));
    assert_eq!(verdict(&claims, &request("/a/b.mp4")), Ok(()));
    assert_eq!(
        verdict(&claims, &request("/a/b.m4s")),
        Err(Reject::Uri(Component::Path))
    );
    let plain = Request {
        scheme: "http",
        ..request("/a/b.mp4")
    };
    assert_eq!(
        verdict(&claims, &plain),
        Err(Reject::Uri(Component::Scheme))
    );
}

#[test]
fn costly_expressions_are_not_even_minted() {
    let (key, _) = key();
    for pattern in [
        "(",
        &"a".repeat(257),
        r"(\w{100}){100}",
        "((((((((((a))))))))))",
    ] {
        assert!(
            tokens::mint(&key, &path_rule(Match::Regex(pattern.into()))).is_err(),
            "{pattern}"
        );
    }
}

#[test]
fn methods_and_networks_bind() {
    let claims = Claims::default().method("GET").method("HEAD");
    assert_eq!(verdict(&claims, &request("/")), Ok(()));
    assert_eq!(
        verdict(
            &claims,
            &Request {
                method: "POST",
                ..request("/")
            }
        ),
        Err(Reject::Method)
    );
    let none = Claims {
        catm: Some(Vec::new()),
        ..Claims::default()
    };
    assert_eq!(verdict(&none, &request("/")), Err(Reject::Method));

    let claims = Claims::default()
        .network("192.0.2.0/24".parse().unwrap())
        .network("::1".parse().unwrap());
    assert_eq!(verdict(&claims, &request("/")), Ok(()));
    let other = Request {
        client_ip: "198.51.100.1".parse().unwrap(),
        ..request("/")
    };
    assert_eq!(verdict(&claims, &other), Err(Reject::ClientAddress));
    let none = Claims {
        catnip: Some(Vec::new()),
        ..Claims::default()
    };
    assert_eq!(verdict(&none, &request("/")), Err(Reject::ClientAddress));
}

#[test]
fn claims_round_trip() {
    let renewal = Renewal {
        deadline_s: Some(60),
        header_name: Some("cta-common-access-token".into()),
        cookie_params: vec!["Secure".into(), "HttpOnly".into()],
        status: Some(302),
        ..Renewal::new(RenewalKind::Header, 120)
    };
    let claims = listener()
        .issuer("segue")
        .audience("a")
        .audience("b")
        .not_before(NOW - 5)
        .id([1, 2, 3])
        .rule(Component::Host, Match::Suffix(".example".into()))
        .rule(Component::Stem, Match::Sha512T256([7; 32]))
        .method("GET")
        .network("10.0.0.0/8".parse().unwrap())
        .network("2001:db8::/32".parse().unwrap())
        .network("AS64512".parse().unwrap())
        .renewal(renewal);
    let (key, _) = key();
    let read = tokens::inspect(&tokens::mint(&key, &claims).unwrap()).unwrap();
    assert_eq!(
        (read.kid.as_str(), read.algorithm),
        ("k1", Some(key.algorithm()))
    );
    let mut expected = Claims {
        catv: Some(1),
        ..claims
    };
    expected.catu.sort_by_key(|rule| rule.component as u8);
    assert_eq!(read.claims, expected);
}

#[test]
fn a_listening_token_stays_small() {
    let (key, _) = key();
    let token = tokens::mint(&key, &listener()).unwrap();
    assert!(token.len() <= 240, "{} characters", token.len());
}

proptest! {
    /// Whatever the path, a track's token never opens what lies outside the track.
    #[test]
    fn no_path_escapes_its_track(rest in r"[a-z0-9/.%\\;2fFeE]{0,24}") {
        let path = format!("/media/{TRACK}{rest}");
        if verdict(&listener(), &request(&path)).is_ok() {
            let inside = path.strip_prefix(&format!("/media/{TRACK}/")).unwrap();
            prop_assert!(!inside.split('/').any(|s| s == ".." || s == "."));
            prop_assert!(!inside.contains('\\') && !inside.to_lowercase().contains("%2"));
        }
    }
}
