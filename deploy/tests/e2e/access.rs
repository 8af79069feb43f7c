//! Who may fetch what: no byte of sound without a token for it, and no token in a log.

use crate::{
    http::{self, Request, Response},
    stack::{self, Shared, segue},
    tools,
};

/// Everything below `/media/` and `/v1/` that a track has.
fn guarded(shared: &Shared, name: &str) -> Vec<String> {
    let published = shared.track(name);
    let base = published.media("opus-96");
    let view = base.trim_end_matches(".mp4");
    vec![
        base.clone(),
        format!("{view}/init.mp4"),
        format!("{view}/1.m4s"),
        published.media("flac"),
        format!("/v1/tracks/{}/index.m3u8", published.id),
        format!("/v1/tracks/{}/opus-96.m3u8", published.id),
        format!("/v1/tracks/{}/manifest.mpd", published.id),
        format!("/v1/tracks/{}/track.json", published.id),
    ]
}

fn plain(shared: &Shared, path: &str) -> Request {
    http::get(format!("{}{path}", shared.stack.http))
}

/// A token by the command line, for instance `--track ID`.
fn mint(shared: &Shared, args: &[&str]) -> String {
    let mut command = segue();
    command
        .args(["token", "mint", "--data"])
        .arg(shared.stack.data())
        .args(args);
    String::from_utf8(tools::run(&mut command).stdout)
        .unwrap()
        .trim()
        .to_owned()
}

#[test]
fn nothing_is_served_without_a_token() {
    let shared = stack::shared();
    for path in guarded(shared, "s16-44k") {
        plain(shared, &path).send().expect(401);
        // Not even where it lies in the cache already.
        http::get(shared.url(&path)).send().expect(200);
        http::get(shared.url(&path)).send().expect(200);
        let refused = plain(shared, &path).send().expect(401);
        assert!(refused.body.len() < 1024, "{refused:?}");
        plain(shared, &path).method("HEAD").send().expect(401);
        plain(shared, &path).range("0-99").send().expect(401);
    }
    // What the player itself needs is open.
    plain(shared, "/").send().expect(200);
    plain(shared, "/api/v1/albums").send().expect(200);
}

#[test]
fn a_token_works_in_header_cookie_query_and_path() {
    let shared = stack::shared();
    let path = shared.track("s16-44k").media("opus-96");
    let token = &shared.token;
    let whole = http::get(shared.url(&path)).send().expect(200).body;
    let ways = [
        plain(shared, &path).header("CTA-Common-Access-Token", token),
        plain(shared, &path).header("Authorization", &format!("Bearer {token}")),
        plain(shared, &path).header("Cookie", &format!("CTA-Common-Access-Token={token}")),
        plain(shared, &format!("{path}?CAT={token}")),
    ];
    for way in ways {
        let answer = way.send().expect(200);
        assert_eq!(answer.body, whole);
    }
}

#[test]
fn a_track_token_opens_that_track_alone() {
    let shared = stack::shared();
    let mine = shared.track("s16-44k");
    let token = mint(shared, &["--track", &mine.id]);
    let with = |path: &str| http::get(format!("{}/~{token}{path}", shared.stack.http)).send();
    for path in guarded(shared, "s16-44k") {
        with(&path).expect(200);
    }
    for path in guarded(shared, "s32-48k") {
        with(&path).expect(403);
    }
    // Not by an id that only begins alike, nor by way of another's folder.
    let longer = mine
        .media("opus-96")
        .replace(&mine.id, &format!("{}0", mine.id));
    with(&longer).expect(403);
    let other = shared.track("s32-48k").media("opus-96");
    let devious = format!(
        "/media/{}/..{}",
        mine.id,
        other.trim_start_matches("/media")
    );
    let answer = with(&devious);
    assert!(matches!(answer.status, 400 | 403 | 404), "{answer:?}");
}

#[test]
fn forged_and_expired_tokens_are_refused() {
    let shared = stack::shared();
    let path = shared.track("s16-44k").media("opus-96");
    let with = |token: &str| http::get(format!("{}/~{token}{path}", shared.stack.http)).send();
    let token = &shared.token;
    let middle = token.len() / 2;
    for at in [0, middle, token.len() - 2] {
        let mut forged = token.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        with(std::str::from_utf8(&forged).unwrap()).expect(403);
    }
    for broken in [&token[..middle], "x", "AAAA", "not%20a%20token"] {
        let answer = with(broken);
        assert!(matches!(answer.status, 400 | 401 | 403), "{answer:?}");
    }
    let brief = brief_token(shared, with);
    // Clocks may differ by the leeway that the edge grants.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(45);
    while with(&brief).status != 403 {
        assert!(
            std::time::Instant::now() < end,
            "an expired token still works"
        );
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
}

/// A token of few seconds, after it has opened something. On a busy machine one may end before it is
/// used; then there is another.
fn brief_token(shared: &Shared, with: impl Fn(&str) -> Response) -> String {
    const TTL_S: u64 = 3;
    for _ in 0..10 {
        let minted = std::time::Instant::now();
        let token = mint(shared, &["--all", "--ttl", &format!("{TTL_S}s")]);
        let answer = with(&token);
        // Ends are whole seconds, and so up to one second early.
        if minted.elapsed() < std::time::Duration::from_secs(TTL_S - 1) {
            answer.expect(200);
            return token;
        }
    }
    panic!("the machine is too busy to use a token within {TTL_S} s");
}

#[test]
fn tokens_do_not_reach_the_log() {
    let shared = stack::shared();
    let path = shared.track("s16-44k").media("opus-64");
    let token = mint(shared, &["--all"]);
    http::get(format!("{}/~{token}{path}", shared.stack.http))
        .send()
        .expect(200);
    plain(shared, &format!("{path}?CAT={token}"))
        .send()
        .expect(200);
    plain(shared, &path)
        .header("Authorization", &format!("Bearer {token}"))
        .send()
        .expect(200);
    std::thread::sleep(std::time::Duration::from_millis(300));
    let log = shared.stack.log();
    assert!(!log.contains(&token), "a token is in the log");
    // Half of one would do for a thief who has the other half.
    assert!(!log.contains(&token[..40]), "part of a token is in the log");
}

#[test]
fn pages_of_other_sites_may_play() {
    let shared = stack::shared();
    let path = shared.track("s16-44k").media("opus-96");
    let answer = http::get(shared.url(&path))
        .header("Origin", "https://listener.example")
        .range("0-999")
        .send()
        .expect(206);
    let allowed = answer.header("access-control-allow-origin");
    assert!(
        matches!(allowed, Some("*" | "https://listener.example")),
        "{answer:?}"
    );
}
