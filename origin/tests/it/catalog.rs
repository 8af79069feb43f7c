//! The catalogue.

use bytes::Bytes;
use manifests::Tags;
use storage::{Key, ObjectStore as _};

use crate::{sample, stack::Stack};

#[tokio::test]
async fn albums_gather_their_tracks_in_order() {
    let stack = Stack::start().await;
    let disc = |disc, tags: Tags| Tags {
        disc_number: Some(disc),
        ..tags
    };
    stack
        .add(3, disc(2, sample::tags("Ann", "Blue", 1, "Three")))
        .await;
    stack
        .add(2, disc(1, sample::tags("Ann", "Blue", 2, "Two")))
        .await;
    let first = stack
        .add(1, disc(1, sample::tags("Ann", "Blue", 1, "One")))
        .await;
    stack
        .add(4, sample::tags("The Zoo", "Green", 1, "Four"))
        .await;

    let list = stack.client.get("/api/v1/albums").await;
    assert_eq!(list.header("cache-control"), "no-cache");
    let list = list.json();
    assert_eq!(list["total"], 2);
    let blue = &list["albums"][0];
    assert_eq!(
        (&blue["title"], &blue["artist"]),
        (&"Blue".into(), &"Ann".into())
    );
    assert_eq!(
        (&blue["track_count"], &blue["date"]),
        (&3.into(), &"1994".into())
    );
    assert_eq!(blue["duration_s"], 30.0);
    assert_eq!(
        blue["cover"],
        format!("/api/v1/covers/{}/{}/cover.png", first.id, first.revision)
    );
    assert_eq!(list["albums"][1]["artist"], "The Zoo");

    let album = stack
        .client
        .get(&format!("/api/v1/albums/{}", blue["id"].as_str().unwrap()))
        .await
        .json();
    let titles: Vec<&str> = album["tracks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["title"].as_str().unwrap())
        .collect();
    assert_eq!(titles, ["One", "Two", "Three"]);
    assert_eq!(album["loudness"]["integrated_lufs"], -13.0);

    let page = stack
        .client
        .get("/api/v1/albums?limit=1&offset=1")
        .await
        .json();
    assert_eq!(page["albums"].as_array().unwrap().len(), 1);
    assert_eq!(page["albums"][0]["title"], "Green");
}

#[tokio::test]
async fn a_track_says_how_to_start_playing_it() {
    let stack = Stack::start().await;
    let track = stack.add(1, sample::tags("Ann", "Blue", 1, "One")).await;
    let json = stack
        .client
        .get(&format!("/api/v1/tracks/{}", track.id))
        .await
        .json();
    assert_eq!(json["album"]["title"], "Blue");
    assert_eq!(json["loudness"]["track"]["integrated_lufs"], -14.0);
    let opus = &json["renditions"][1];
    let rendition = track.rendition("opus-96").unwrap();
    assert_eq!(opus["codecs"], "opus");
    assert_eq!(opus["start_bytes"], rendition.segments[1].bytes.end());
    assert_eq!(
        (&opus["init_end"], &opus["index_end"]),
        (&900.into(), &1_000.into())
    );
    for url in [&opus["url"], &json["hls"], &json["dash"], &json["cover"]] {
        assert_eq!(
            stack.client.get(url.as_str().unwrap()).await.status,
            200,
            "{url}"
        );
    }
}

#[tokio::test]
async fn registering_again_changes_nothing() {
    let stack = Stack::start().await;
    let track = stack.add(1, sample::tags("Ann", "Blue", 1, "One")).await;
    let before = stack.client.get("/api/v1/albums").await.body;
    for _ in 0..3 {
        stack.origin.catalog().register(&track).await.unwrap();
    }
    assert_eq!(stack.client.get("/api/v1/albums").await.body, before);
}

#[tokio::test]
async fn artists_list_what_they_are_on() {
    let stack = Stack::start().await;
    let guest = Tags {
        album_artist: Some("Ann".into()),
        ..sample::tags("Bob", "Blue", 2, "Two")
    };
    stack.add(1, sample::tags("Ann", "Blue", 1, "One")).await;
    stack.add(2, guest).await;
    stack
        .add(
            3,
            Tags {
                title: "Loose".into(),
                ..Tags::default()
            },
        )
        .await;
    let artists = stack.client.get("/api/v1/artists").await.json();
    let names: Vec<&str> = artists["artists"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["Ann", "Bob", "Unknown artist"]);
    let bob = artists["artists"][1]["id"].as_str().unwrap();
    let bob = stack
        .client
        .get(&format!("/api/v1/artists/{bob}"))
        .await
        .json();
    assert_eq!(bob["albums"][0]["title"], "Blue");
    assert_eq!(
        bob["albums"][0]["track_count"], 2,
        "the whole album, not only the guest's part"
    );
    let albums = stack.client.get("/api/v1/albums").await.json();
    assert_eq!(albums["albums"][1]["title"], "Unknown album");
}

#[tokio::test]
async fn search_takes_words_literally() {
    let stack = Stack::start().await;
    stack
        .add(1, sample::tags("Ann", "Blue", 1, "100% Röd"))
        .await;
    stack
        .add(2, sample::tags("Bob", "Blue_Moon", 1, "Other"))
        .await;
    let titles = async |q: &str| -> Vec<String> {
        let found = stack
            .client
            .get(&format!("/api/v1/search?q={q}"))
            .await
            .json();
        let tracks = found["tracks"].as_array().unwrap();
        tracks
            .iter()
            .map(|t| t["title"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(titles("R%C3%96D").await, ["100% Röd"]);
    assert_eq!(titles("blue").await, ["100% Röd", "Other"]);
    assert_eq!(titles("blue+bob").await, ["Other"]);
    assert_eq!(titles("%25").await, ["100% Röd"], "a wildcard is a letter");
    assert_eq!(titles("_").await, ["Other"]);
    assert_eq!(titles("'").await, Vec::<String>::new());
    let found = stack.client.get("/api/v1/search?q=ann").await.json();
    assert_eq!(found["artists"][0]["name"], "Ann");
    assert_eq!(found["albums"][0]["title"], "Blue");
    assert_eq!(stack.client.get("/api/v1/search").await.status, 400);
}

#[tokio::test]
async fn reconciling_finds_what_was_never_registered() {
    let stack = Stack::start().await;
    stack.add(1, sample::tags("Ann", "Blue", 1, "One")).await;
    sample::publish(
        &*stack.store,
        &sample::track(2, sample::tags("Ann", "Blue", 2, "Two")),
    )
    .await;
    let broken = Key::new("tracks/t00000000000000000003/00ff/track.json").unwrap();
    stack
        .store
        .put(&broken, Bytes::from_static(b"{}"))
        .await
        .unwrap();

    let sum = stack
        .origin
        .catalog()
        .reconcile(&*stack.store)
        .await
        .unwrap();
    assert_eq!((sum.found, sum.registered, sum.failed), (3, 1, 1));
    assert_eq!(
        stack.client.get("/api/v1/albums").await.json()["albums"][0]["track_count"],
        2
    );
    let again = stack
        .origin
        .catalog()
        .reconcile(&*stack.store)
        .await
        .unwrap();
    assert_eq!((again.found, again.registered, again.failed), (3, 0, 1));
}

#[tokio::test]
async fn two_processes_share_a_catalogue_and_a_restart_keeps_it() {
    let stack = Stack::start().await;
    let config = origin::Config::at(stack.data.path());
    let ingest = origin::Origin::open(config.clone(), stack.store.clone())
        .await
        .unwrap();
    let track = sample::track(9, sample::tags("Ann", "Blue", 1, "One"));
    sample::publish(&*stack.store, &track).await;
    ingest.catalog().register(&track).await.unwrap();
    assert_eq!(stack.client.get("/api/v1/albums").await.json()["total"], 1);
    let keys = (ingest.keyset().to_json(), stack.origin.keyset().to_json());
    assert_eq!(keys.0, keys.1, "both sign with one key");
    ingest.close().await;

    let store = stack.store.clone();
    let data = stack.stop().await;
    let again = origin::Origin::open(origin::Config::at(data.path()), store)
        .await
        .unwrap();
    assert_eq!(again.reconcile().await.unwrap(), 0, "all is known already");
    assert_eq!(again.keyset().to_json(), keys.0);
}
