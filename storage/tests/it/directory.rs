//! The directory engine: the suite, and what only files can do wrong.

use std::{fs, sync::Arc};

use bytes::Bytes;
use storage::{Directory, Error, ObjectStore};

use crate::suite::{self, key, names, noise};

fn files(root: &std::path::Path) -> usize {
    fs::read_dir(root.join(".segue-tmp")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suite() {
    let root = tempfile::tempdir().unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(Directory::open(root.path()).unwrap());
    suite::run(&store).await;
    assert_eq!(files(root.path()), 0, "temporary files were left behind");
    assert!(
        !root.path().join("m").exists(),
        "empty directories were left behind"
    );
}

#[tokio::test]
async fn order_follows_keys_rather_than_directories() {
    let root = tempfile::tempdir().unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(Directory::open(root.path()).unwrap());
    let mut all = ["a-b", "a.b", "a/b", "a0", "a/b-/c", "a/b.", "Z", "ä", "a b"].map(String::from);
    for name in &all {
        if name != "a/b" {
            store.put(&key(name), Bytes::new()).await.unwrap();
        }
    }
    store.put(&key("a/b"), Bytes::new()).await.unwrap();
    all.sort();
    assert_eq!(names(&store, "").await, all);
    assert_eq!(
        names(&store, "a").await,
        all.iter()
            .filter(|n| n.starts_with('a'))
            .cloned()
            .collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn strangers_among_the_files_are_no_objects() {
    let root = tempfile::tempdir().unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(Directory::open(root.path()).unwrap());
    store.put(&key("a"), noise(1, 10)).await.unwrap();
    fs::create_dir(root.path().join("empty")).unwrap();
    fs::write(root.path().join(".segue-tmp/stale"), "x").unwrap();
    std::os::unix::fs::symlink("/etc", root.path().join("link")).unwrap();
    fs::write(root.path().join("bad\\name"), "x").unwrap();
    assert_eq!(names(&store, "").await, ["a"]);
    assert!(matches!(
        store.put(&key(".segue-tmp/x"), Bytes::new()).await,
        Err(Error::BadKey(_))
    ));
    assert!(matches!(
        store.get(&key(".segue-tmp/stale"), None).await,
        Err(Error::BadKey(_))
    ));
}

#[tokio::test]
async fn an_object_is_no_directory() {
    let root = tempfile::tempdir().unwrap();
    let store = Directory::open(root.path()).unwrap();
    store.put(&key("a"), noise(1, 10)).await.unwrap();
    let error = store.put(&key("a/b"), Bytes::new()).await.unwrap_err();
    assert!(error.to_string().contains("is an object itself"), "{error}");
    store.put(&key("d/e"), Bytes::new()).await.unwrap();
    assert!(matches!(
        store.put(&key("d"), Bytes::new()).await,
        Err(Error::Store { .. })
    ));
    store.delete(&key("d")).await.unwrap();
    assert!(store.head(&key("d/e")).await.is_ok());
    let long = key(&"x".repeat(300));
    assert!(matches!(store.head(&long).await, Err(Error::NotFound(_))));
    assert!(matches!(
        store.put(&long, Bytes::new()).await,
        Err(Error::Store { .. })
    ));
}

#[tokio::test]
async fn reopening_finds_everything() {
    let root = tempfile::tempdir().unwrap();
    let url = format!("file://{}", root.path().display());
    let etag = storage::open(&url)
        .await
        .unwrap()
        .put(&key("x/y"), noise(1, 99))
        .await
        .unwrap()
        .etag;
    let again = storage::open(&root.path().display().to_string())
        .await
        .unwrap();
    assert_eq!(again.head(&key("x/y")).await.unwrap().etag, etag);
}

#[test]
fn a_place_that_cannot_be_used_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Directory::open(file.path()).unwrap_err().to_string();
    assert!(
        error.contains(&file.path().display().to_string()),
        "{error}"
    );
}
