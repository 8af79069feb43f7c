//! Manifests of tracks.

use axum::body::Body;
use http::Method;

use crate::{sample, stack::Stack};

/// A URL in a document, resolved against the document's own path.
fn resolve(document: &str, url: &str) -> String {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in url.split('/') {
        match part {
            ".." => assert!(parts.pop().is_some(), "{url} climbs out"),
            other => parts.push(other),
        }
    }
    parts.join("/")
}

#[tokio::test]
async fn every_url_of_every_hls_playlist_leads_somewhere() {
    let stack = Stack::start().await;
    let track = stack.add(1, sample::tags("Ann", "Blue", 1, "One")).await;
    for query in ["", "?addressing=segments"] {
        let index = format!("/v1/tracks/{}/index.m3u8", track.id);
        let all = stack.client.get(&format!("{index}{query}")).await;
        assert_eq!(all.status, 200, "{}", all.text());
        assert_eq!(all.header("content-type"), "application/vnd.apple.mpegurl");
        let variants: Vec<&str> = all.text().lines().filter(|l| !l.starts_with('#')).collect();
        assert_eq!(variants.len(), 3);
        for variant in variants {
            let url = resolve(&index, variant);
            let media = stack.client.get(&url).await;
            assert_eq!(media.status, 200, "{url}");
            for segment in media.text().lines().filter(|l| !l.starts_with('#')) {
                let url = resolve(&index, segment);
                let head = stack
                    .client
                    .send(Method::HEAD, &url, &[], Body::empty())
                    .await;
                assert_eq!(head.status, 200, "{url}");
            }
        }
    }
}

#[tokio::test]
async fn manifests_carry_what_caches_and_players_need() {
    let stack = Stack::start().await;
    let track = stack.add(1, sample::tags("Ann", "Blue", 1, "One")).await;
    let base = format!("/v1/tracks/{}", track.id);
    let types = [
        ("index.m3u8", "application/vnd.apple.mpegurl"),
        ("opus-96.m3u8", "application/vnd.apple.mpegurl"),
        ("manifest.mpd", "application/dash+xml"),
        ("track.json", "application/json"),
    ];
    for (name, content_type) in types {
        let url = format!("{base}/{name}");
        let answer = stack.client.get(&url).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, content_type)
        );
        assert_eq!(
            answer.header("surrogate-key"),
            format!("track/{}", track.id)
        );
        assert!(
            answer
                .header("cache-control")
                .starts_with("public, max-age=60")
        );
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        let tag = answer.header("etag").to_owned();
        let again = stack
            .client
            .get_with(&url, &[("if-none-match", &tag)])
            .await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{name}");
    }
    let json = stack.client.get(&format!("{base}/track.json")).await;
    assert_eq!(manifests::Track::from_json(&json.body).unwrap(), track);
}

#[tokio::test]
async fn parameters_choose_and_mistakes_are_explained() {
    let stack = Stack::start().await;
    let track = stack.add(1, sample::tags("Ann", "Blue", 1, "One")).await;
    let base = format!("/v1/tracks/{}", track.id);
    let opus = stack
        .client
        .get(&format!("{base}/index.m3u8?codecs=opus&CMCD=x"))
        .await;
    assert!(
        opus.text().contains("opus-96.m3u8") && !opus.text().contains("aac"),
        "{}",
        opus.text()
    );
    let mpd = stack
        .client
        .get(&format!("{base}/manifest.mpd?addressing=segments"))
        .await;
    assert!(mpd.text().contains("$Number$.m4s"), "{}", mpd.text());

    let check = async |path: &str, status: u16, says: &str| {
        let answer = stack.client.get(path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(says), "{path}: {}", answer.text());
    };
    check(
        &format!("{base}/index.m3u8?codecs=mp3"),
        400,
        "comma-separated list of opus",
    )
    .await;
    check(
        &format!("{base}/index.m3u8?addressing=magic"),
        400,
        "`ranges` or `segments`",
    )
    .await;
    check(
        &format!("{base}/index.m3u8?codecs=flac"),
        404,
        "no_such_codec",
    )
    .await;
    check(&format!("{base}/flac.m3u8"), 404, "the source is lossy").await;
    check(&format!("{base}/cover.png"), 404, "index.m3u8").await;
    check("/v1/tracks/tnone/index.m3u8", 404, "no track `tnone`").await;
}

#[tokio::test]
async fn a_preflight_lets_players_send_ranges_and_cmcd() {
    let stack = Stack::start().await;
    let headers = [
        ("origin", "https://player.example"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "range,cmcd-session"),
    ];
    for path in [
        "/v1/tracks/t1/index.m3u8",
        "/media/t1/r1/opus-96.mp4",
        "/v1/playlists/p/index.m3u8",
    ] {
        let answer = stack
            .client
            .send(Method::OPTIONS, path, &headers, Body::empty())
            .await;
        assert_eq!(answer.status, 204, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        let allowed = answer
            .header("access-control-allow-headers")
            .to_ascii_lowercase();
        assert!(
            allowed.contains("range") && allowed.contains("cmcd-session"),
            "{allowed}"
        );
    }
}

#[tokio::test]
async fn a_published_track_plays_before_it_is_catalogued_and_the_newest_revision_wins() {
    let stack = Stack::start().await;
    let mut track = sample::track(7, sample::tags("Ann", "Blue", 1, "One"));
    sample::publish(&*stack.store, &track).await;
    let url = format!("/v1/tracks/{}/opus-96.m3u8", track.id);
    assert!(
        stack
            .client
            .get(&url)
            .await
            .text()
            .contains(&track.revision.0)
    );

    track.revision.0 = "00000000000000aa".into();
    sample::publish(&*stack.store, &track).await;
    stack.origin.catalog().register(&track).await.unwrap();
    assert!(
        stack
            .client
            .get(&url)
            .await
            .text()
            .contains("00000000000000aa")
    );
}
