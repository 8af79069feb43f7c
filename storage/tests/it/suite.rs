//! What every store does.

use std::{collections::BTreeSet, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng, seq::SliceRandom};
use storage::{Error, Key, Meta, ObjectStore};

type Store = Arc<dyn ObjectStore>;

pub(crate) fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

pub(crate) fn noise(seed: u64, len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes.into()
}

async fn read(
    store: &Store,
    name: &str,
    range: Option<Range<u64>>,
) -> Result<(Meta, Range<u64>, Bytes), Error> {
    let object = store.get(&key(name), range).await?;
    let chunks: Vec<Bytes> = object.body.try_collect().await?;
    Ok((object.meta, object.range, chunks.concat().into()))
}

pub(crate) async fn names(store: &Store, prefix: &str) -> Vec<String> {
    store
        .list(prefix)
        .map_ok(|meta| meta.key.to_string())
        .try_collect()
        .await
        .unwrap()
}

/// Runs every case. Cases keep to keys of their own.
pub(crate) async fn run(store: &Store) {
    put_get_head_delete(store).await;
    ranges(store).await;
    keys_of_all_kinds(store).await;
    validators(store).await;
    streamed_puts(store).await;
    dropped_uploads(store).await;
    failed_upload_keeps_the_old_object(store).await;
    readers_during_overwrites(store).await;
    many_writers_and_removers(store).await;
    prefixes_and_order(store).await;
    long_lists(store).await;
}

async fn put_get_head_delete(store: &Store) {
    assert!(
        matches!(store.head(&key("a/none")).await, Err(Error::NotFound(k)) if k == key("a/none"))
    );
    assert!(matches!(
        store.get(&key("a/none"), None).await,
        Err(Error::NotFound(_))
    ));
    assert!(matches!(
        store.get(&key("a/none"), Some(0..1)).await,
        Err(Error::NotFound(_))
    ));
    assert!(matches!(
        store.get(&key("a/none"), Some(3..3)).await,
        Err(Error::NotFound(_))
    ));
    store.delete(&key("a/none")).await.unwrap();

    let body = noise(1, 1_000_000);
    let put = store.put(&key("a/one"), body.clone()).await.unwrap();
    assert_eq!((put.size, &put.key), (1_000_000, &key("a/one")));
    let head = store.head(&key("a/one")).await.unwrap();
    assert_eq!(
        (&head.key, head.size, &head.etag),
        (&put.key, put.size, &put.etag)
    );
    assert!(!head.etag.contains('"') && !head.etag.is_empty());
    assert!(head.modified.elapsed().unwrap_or_default() < Duration::from_secs(60));
    let (meta, range, bytes) = read(store, "a/one", None).await.unwrap();
    assert_eq!((meta, range, bytes), (head, 0..1_000_000, body));
    // A prefix of a key is no key, nor is what lies below one.
    assert!(matches!(
        store.head(&key("a")).await,
        Err(Error::NotFound(_))
    ));
    assert!(matches!(
        store.get(&key("a"), None).await,
        Err(Error::NotFound(_))
    ));
    assert!(matches!(
        store.get(&key("a/one/two"), None).await,
        Err(Error::NotFound(_))
    ));

    store.delete(&key("a/one")).await.unwrap();
    assert!(matches!(
        store.head(&key("a/one")).await,
        Err(Error::NotFound(_))
    ));
    assert_eq!(names(store, "a/").await, [""; 0]);
}

async fn ranges(store: &Store) {
    let body = noise(2, 700_001);
    store.put(&key("r/file"), body.clone()).await.unwrap();
    let size = body.len() as u64;
    for asked in [
        0..1,
        0..size,
        0..u64::MAX,
        1..2,
        size - 1..size,
        size - 1..size + 9,
        262_143..262_145,
        262_144..524_288,
        5..699_999,
    ] {
        let (meta, range, bytes) = read(store, "r/file", Some(asked.clone())).await.unwrap();
        let expected = asked.start..asked.end.min(size);
        assert_eq!((meta.size, &range), (size, &expected), "{asked:?}");
        assert!(
            bytes == body[expected.start as usize..expected.end as usize],
            "{asked:?}"
        );
    }
    #[allow(clippy::reversed_empty_ranges)]
    for asked in [
        size..size + 1,
        size + 1..size + 2,
        u64::MAX - 1..u64::MAX,
        5..5,
        7..3,
    ] {
        match store.get(&key("r/file"), Some(asked.clone())).await {
            Err(Error::BadRange {
                start, size: told, ..
            }) => assert_eq!((start, told), (asked.start, size)),
            other => panic!("{asked:?}: {other:?}"),
        }
    }
    store.put(&key("r/empty"), Bytes::new()).await.unwrap();
    let (meta, range, bytes) = read(store, "r/empty", None).await.unwrap();
    assert_eq!((meta.size, range, bytes.len()), (0, 0..0, 0));
    assert!(matches!(
        store.get(&key("r/empty"), Some(0..1)).await,
        Err(Error::BadRange { size: 0, .. })
    ));
    let mut random = StdRng::seed_from_u64(3);
    for _ in 0..20 {
        let start = random.random_range(0..size);
        let end = random.random_range(start + 1..=size);
        let (_, _, bytes) = read(store, "r/file", Some(start..end)).await.unwrap();
        assert!(
            bytes == body[start as usize..end as usize],
            "{start}..{end}"
        );
    }
}

async fn keys_of_all_kinds(store: &Store) {
    let kinds = [
        "u/Für Elise/été.flac",
        "u/音楽/トラック 1.mp4",
        "u/emoji-🎵.m4a",
        "u/a b+c&d=e%2Ff?g#h",
        "u/.hidden/..x",
        "u/quote'\"<>|*",
        "u/e\u{301}",
    ];
    for (i, name) in kinds.into_iter().enumerate() {
        store
            .put(&key(name), noise(i as u64, 10 + i))
            .await
            .unwrap();
    }
    for (i, name) in kinds.into_iter().enumerate() {
        assert_eq!(
            read(store, name, None).await.unwrap().2,
            noise(i as u64, 10 + i),
            "{name}"
        );
    }
    let listed: BTreeSet<_> = names(store, "u/").await.into_iter().collect();
    assert_eq!(listed, kinds.into_iter().map(str::to_owned).collect());
    for name in kinds {
        store.delete(&key(name)).await.unwrap();
    }
    assert_eq!(names(store, "u/").await, [""; 0]);
}

async fn validators(store: &Store) {
    let mut seen = BTreeSet::new();
    for i in 0..30u8 {
        let meta = store
            .put(&key("v/same-size"), Bytes::from(vec![i; 64]))
            .await
            .unwrap();
        assert!(
            seen.insert(meta.etag.clone()),
            "validator {} came twice",
            meta.etag
        );
        assert_eq!(
            store.head(&key("v/same-size")).await.unwrap().etag,
            meta.etag
        );
    }
    let first = store.head(&key("v/same-size")).await.unwrap();
    let again = read(store, "v/same-size", Some(1..2)).await.unwrap().0;
    assert_eq!(first, again);
}

async fn streamed_puts(store: &Store) {
    for (i, len) in [0, 1, 300_000, 8 << 20, (8 << 20) + 1, 21_000_001]
        .into_iter()
        .enumerate()
    {
        let name = format!("s/{i}");
        let body = noise(i as u64, len);
        let mut upload = store.upload(&key(&name)).await.unwrap();
        let mut rest = body.clone();
        while !rest.is_empty() {
            let chunk = rest.split_to(rest.len().min(777_777));
            upload.write(chunk).await.unwrap();
            assert!(
                matches!(store.head(&key(&name)).await, Err(Error::NotFound(_))),
                "seen before its end"
            );
        }
        let done = upload.finish().await.unwrap();
        let (meta, _, bytes) = read(store, &name, None).await.unwrap();
        assert_eq!((meta.size, meta.etag), (len as u64, done.etag));
        assert!(bytes == body, "{len} bytes");
    }
}

async fn dropped_uploads(store: &Store) {
    for len in [10, 20 << 20] {
        for way in 0..3 {
            let name = key(&format!("d/{len}-{way}"));
            let mut upload = store.upload(&name).await.unwrap();
            upload.write(noise(9, len)).await.unwrap();
            match way {
                0 => upload.abort().await.unwrap(),
                1 => drop(upload),
                _ => {
                    // As when a task is cancelled in the middle of writing.
                    let write = upload.write(noise(10, len));
                    let _ = tokio::time::timeout(Duration::from_micros(50), write).await;
                    drop(upload);
                }
            }
            assert!(matches!(store.head(&name).await, Err(Error::NotFound(_))));
        }
    }
    assert_eq!(names(store, "d/").await, [""; 0]);
}

async fn failed_upload_keeps_the_old_object(store: &Store) {
    let name = key("k/object");
    store.put(&name, noise(1, 100)).await.unwrap();
    let mut upload = store.upload(&name).await.unwrap();
    upload.write(noise(2, 9 << 20)).await.unwrap();
    drop(upload);
    assert_eq!(
        read(store, "k/object", None).await.unwrap().2,
        noise(1, 100)
    );
    let mut upload = store.upload(&name).await.unwrap();
    upload.write(noise(3, 50)).await.unwrap();
    upload.finish().await.unwrap();
    assert_eq!(read(store, "k/object", None).await.unwrap().2, noise(3, 50));
}

/// A reader sees one version from its first byte to its last, or an error; never a mixture.
async fn readers_during_overwrites(store: &Store) {
    const LEN: usize = 1 << 20;
    let name = key("o/object");
    let version = |i: u8| Bytes::from(vec![i; LEN]);
    store.put(&name, version(0)).await.unwrap();
    let writer = {
        let (store, name) = (store.clone(), name.clone());
        tokio::spawn(async move {
            for i in 1..20 {
                store.put(&name, version(i)).await.unwrap();
            }
        })
    };
    let readers = (0..4).map(|_| {
        let (store, name) = (store.clone(), name.clone());
        tokio::spawn(async move {
            let mut whole = 0;
            for _ in 0..15 {
                let mut object = store.get(&name, None).await.unwrap();
                let mut bytes = Vec::new();
                let ended = loop {
                    match object.body.next().await {
                        Some(Ok(chunk)) => bytes.extend_from_slice(&chunk),
                        Some(Err(_)) => break false,
                        None => break true,
                    }
                    tokio::task::yield_now().await;
                };
                assert!(
                    bytes.iter().all(|b| *b == bytes[0]),
                    "two versions in one body"
                );
                assert!(
                    !ended || bytes.len() == LEN,
                    "{} bytes and no error",
                    bytes.len()
                );
                whole += usize::from(ended);
            }
            whole
        })
    });
    let whole: Vec<_> = futures_util::future::try_join_all(readers).await.unwrap();
    writer.await.unwrap();
    assert!(whole.iter().sum::<usize>() > 30, "{whole:?} of 15 each");
    assert_eq!(read(store, "o/object", Some(0..1)).await.unwrap().2[0], 19);
}

/// Neighbours coming and going never fail one another.
async fn many_writers_and_removers(store: &Store) {
    let tasks = (0..8).map(|task| {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..12 {
                let name = key(&format!("m/deep/{}/{task}", round % 2));
                store.put(&name, noise(task, 100)).await.unwrap();
                assert_eq!(store.head(&name).await.unwrap().size, 100);
                store.delete(&name).await.unwrap();
            }
        })
    });
    futures_util::future::try_join_all(tasks).await.unwrap();
    assert_eq!(names(store, "m/").await, [""; 0]);
}

async fn prefixes_and_order(store: &Store) {
    let mut all = [
        "p/a/1", "p/a/10", "p/a/2/x", "p/a0", "p/ab", "p/b/c/d", "p/b/c0", "p/z",
    ];
    all.shuffle(&mut StdRng::seed_from_u64(5));
    for name in all {
        store
            .put(&key(name), Bytes::from_static(b"x"))
            .await
            .unwrap();
    }
    all.sort_unstable();
    let expect = |prefix: &str| {
        all.into_iter()
            .filter(|n| n.starts_with(prefix))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    for prefix in [
        "p/", "p/a", "p/a/", "p/a/1", "p/b/c", "p/b/c/", "p/b/c/d", "p/zz", "p", "p/a/1/",
    ] {
        assert_eq!(names(store, prefix).await, expect(prefix), "{prefix}");
    }
    for outside in ["/p", "p//", "../", "p/../p/", "./p"] {
        assert_eq!(names(store, outside).await, [""; 0], "{outside}");
    }
    let sizes: Vec<Meta> = store.list("p/a/1").try_collect().await.unwrap();
    for meta in sizes {
        assert_eq!(store.head(&meta.key).await.unwrap().etag, meta.etag);
        assert_eq!(meta.size, 1);
    }
}

async fn long_lists(store: &Store) {
    let all: Vec<String> = (0..1505)
        .map(|i| format!("l/t{:02}/{:04}.mp4", i % 37, i))
        .collect();
    let puts = all
        .iter()
        .map(|name| store.put(Box::leak(Box::new(key(name))), Bytes::from_static(b"12345")));
    let done: Vec<_> = futures_util::stream::iter(puts)
        .buffer_unordered(16)
        .collect()
        .await;
    assert!(done.into_iter().all(|put| put.is_ok()));
    let mut sorted = all.clone();
    sorted.sort();
    assert_eq!(names(store, "l/").await, sorted);
    // A page asked for is enough: the rest is never fetched.
    let few: Vec<_> = store.list("l/").take(3).try_collect().await.unwrap();
    assert_eq!(
        few.iter().map(|m| m.key.as_str()).collect::<Vec<_>>(),
        sorted[..3]
    );
    assert!(few.iter().all(|m| m.size == 5));
}
