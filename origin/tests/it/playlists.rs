//! Playlists and their streams.

use http::Method;
use serde_json::{Value, json};

use crate::{sample, stack::Stack};

struct List {
    stack: Stack,
    tracks: Vec<String>,
    url: String,
}

async fn list() -> List {
    let stack = Stack::start().await;
    let mut tracks = Vec::new();
    for n in 1..=3 {
        tracks.push(
            stack
                .add(n, sample::tags("Ann", "Blue", n, &format!("T{n}")))
                .await
                .id
                .0,
        );
    }
    let (status, made) = stack
        .client
        .json(Method::POST, "/api/v1/playlists", json!({"name": " Mine "}))
        .await;
    assert_eq!((status.as_u16(), &made["name"]), (201, &"Mine".into()));
    let url = format!("/api/v1/playlists/{}", made["id"].as_str().unwrap());
    List { stack, tracks, url }
}

impl List {
    async fn change(&self, method: Method, below: &str, body: Value) -> Value {
        let (status, value) = self
            .stack
            .client
            .json(method, &format!("{}{below}", self.url), body)
            .await;
        assert_eq!(status, 200, "{value}");
        value
    }

    async fn add(&self, ids: &[&String], at: Option<usize>) -> Value {
        self.change(
            Method::POST,
            "/items",
            json!({ "track_ids": ids, "at": at }),
        )
        .await
    }
}

fn titles(playlist: &Value) -> Vec<&str> {
    let items = playlist["items"].as_array().unwrap();
    items
        .iter()
        .map(|i| i["track"]["title"].as_str().unwrap())
        .collect()
}

fn item_ids(playlist: &Value) -> Vec<String> {
    let items = playlist["items"].as_array().unwrap();
    items
        .iter()
        .map(|i| i["item_id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn items_keep_their_order_through_every_change() {
    let list = list().await;
    let [a, b, c] = [&list.tracks[0], &list.tracks[1], &list.tracks[2]];
    list.add(&[a, b], None).await;
    let playlist = list.add(&[c, a], Some(1)).await;
    assert_eq!(titles(&playlist), ["T1", "T3", "T1", "T2"]);
    assert_eq!(playlist["version"], 3);

    let mut ids = item_ids(&playlist);
    ids.reverse();
    let reversed = list
        .change(Method::PUT, "/order", json!({ "item_ids": ids }))
        .await;
    assert_eq!(titles(&reversed), ["T2", "T1", "T3", "T1"]);
    assert_eq!(item_ids(&reversed), ids, "items keep their ids");

    let removed = list
        .change(Method::DELETE, &format!("/items/{}", ids[1]), Value::Null)
        .await;
    assert_eq!(titles(&removed), ["T2", "T3", "T1"], "the other T1 stays");
    let playlist = list.add(&[b], Some(99)).await;
    assert_eq!(titles(&playlist), ["T2", "T3", "T1", "T2"]);

    let renamed = list
        .change(Method::PATCH, "", json!({"name": "Yours"}))
        .await;
    assert_eq!(renamed["name"], "Yours");
    let all = list.stack.client.get("/api/v1/playlists").await.json();
    assert_eq!(all["playlists"][0]["item_count"], 4);
    let (status, _) = list
        .stack
        .client
        .json(Method::DELETE, &list.url, Value::Null)
        .await;
    assert_eq!(status, 204);
    assert_eq!(list.stack.client.get(&list.url).await.status, 404);
}

#[tokio::test]
async fn a_stale_editor_is_told_to_load_again() {
    let list = list().await;
    let read = list.stack.client.get(&list.url).await;
    let tag = read.header("etag").to_owned();
    let unchanged = list
        .stack
        .client
        .get_with(&list.url, &[("if-none-match", &tag)])
        .await;
    assert_eq!(unchanged.status, 304);

    let send = async |tag: &str| {
        let headers = [("content-type", "application/json"), ("if-match", tag)];
        let body = json!({ "track_ids": [list.tracks[0]] }).to_string();
        list.stack
            .client
            .send(Method::POST, &format!("{}/items", list.url), &headers, body)
            .await
    };
    let first = send(&tag).await;
    assert_eq!(first.status, 200);
    let second = send(&tag).await;
    assert_eq!(
        (second.status, second.error_code().as_str()),
        (412, "changed_meanwhile")
    );
    let third = send(first.header("etag")).await;
    assert_eq!(third.json()["items"].as_array().unwrap().len(), 2);
    assert_eq!(send("\"nonsense\"").await.status, 412);
    assert_eq!(send("*").await.status, 200);
}

#[tokio::test]
async fn simultaneous_changes_are_all_kept() {
    let list = list().await;
    let track = [&list.tracks[0]];
    let adds = (0..20).map(|_| list.add(&track, Some(0)));
    futures_util::future::join_all(adds).await;
    let playlist = list.stack.client.get(&list.url).await.json();
    assert_eq!(playlist["items"].as_array().unwrap().len(), 20);
    assert_eq!(playlist["version"], 21);
}

#[tokio::test]
async fn impossible_changes_are_refused_whole() {
    let list = list().await;
    let items = format!("{}/items", list.url);
    let order = format!("{}/order", list.url);
    let check = async |method: Method, url: &str, body: Value, status: u16, code: &str| {
        let (got, answer) = list.stack.client.json(method, url, body).await;
        assert_eq!(
            (got.as_u16(), answer["error"]["code"].as_str().unwrap()),
            (status, code),
            "{answer}"
        );
    };
    let known = &list.tracks[0];
    check(
        Method::POST,
        &items,
        json!({"track_ids": [known, "t0"]}),
        422,
        "unknown_track",
    )
    .await;
    check(
        Method::POST,
        &items,
        json!({"track_ids": []}),
        400,
        "bad_request",
    )
    .await;
    check(Method::POST, &items, json!({"tracks": []}), 422, "bad_body").await;
    check(
        Method::PUT,
        &order,
        json!({"item_ids": ["i0"]}),
        409,
        "not_a_permutation",
    )
    .await;
    check(
        Method::DELETE,
        &format!("{items}/i0"),
        Value::Null,
        404,
        "not_found",
    )
    .await;
    check(
        Method::PATCH,
        &list.url,
        json!({"name": "a\nb"}),
        400,
        "bad_request",
    )
    .await;
    check(
        Method::POST,
        "/api/v1/playlists",
        json!({"name": " "}),
        400,
        "bad_request",
    )
    .await;
    check(
        Method::PATCH,
        "/api/v1/playlists/p0",
        json!({"name": "x"}),
        404,
        "not_found",
    )
    .await;
    let long = json!({"name": "x".repeat(600_000)});
    check(Method::POST, "/api/v1/playlists", long, 413, "too_large").await;
    let text = list
        .stack
        .client
        .send(Method::POST, "/api/v1/playlists", &[], "{}")
        .await;
    assert_eq!((text.status, text.error_code().as_str()), (415, "not_json"));
    let playlist = list.stack.client.get(&list.url).await.json();
    assert_eq!(
        (&playlist["version"], titles(&playlist).len()),
        (&1.into(), 0)
    );
}

#[tokio::test]
async fn a_playlist_is_one_continuous_stream() {
    let list = list().await;
    let id = list.url.rsplit('/').next().unwrap();
    let base = format!("/v1/playlists/{id}");
    let empty = list.stack.client.get(&format!("{base}/index.m3u8")).await;
    assert_eq!(
        (empty.status, empty.error_code().as_str()),
        (404, "empty_playlist")
    );

    list.add(&list.tracks.iter().collect::<Vec<_>>(), None)
        .await;
    let index = list.stack.client.get(&format!("{base}/index.m3u8")).await;
    assert_eq!(index.status, 200, "{}", index.text());
    assert_eq!(index.header("cache-control"), "no-cache");
    assert!(
        index.text().contains("\nopus-96.m3u8\n"),
        "{}",
        index.text()
    );
    let media = list.stack.client.get(&format!("{base}/opus-96.m3u8")).await;
    assert_eq!(media.text().matches("#EXT-X-DISCONTINUITY\n").count(), 2);
    assert_eq!(media.text().matches("#EXT-X-MAP").count(), 3);
    let sum: f64 = media
        .text()
        .lines()
        .filter_map(|l| {
            l.strip_prefix("#EXTINF:")?
                .split_once(',')?
                .0
                .parse::<f64>()
                .ok()
        })
        .sum();
    // Priming and padding are no sound.
    assert!((sum - 3.0 * 10.0).abs() < 1e-4, "{sum}");
    let mpd = list.stack.client.get(&format!("{base}/manifest.mpd")).await;
    assert_eq!(mpd.text().matches("<Period ").count(), 3);
    assert_eq!(
        list.stack
            .client
            .get(&format!("{base}/flac.m3u8"))
            .await
            .status,
        404
    );
}
