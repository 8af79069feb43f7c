//! The S3 engine against a real SeaweedFS: the suite, and what only a service can do wrong.

use std::{sync::Arc, time::Duration};

use storage::{Error, ObjectStore, S3, s3::Config};

use crate::{
    suite::{self, key, names, noise},
    weed::{ACCESS, SECRET, Weed},
};

fn config(weed: &Weed, prefix: &str) -> Config {
    Config {
        prefix: prefix.into(),
        endpoint: Some(weed.endpoint()),
        credentials: Some((ACCESS.into(), SECRET.into())),
        ..Config::new("music")
    }
}

/// Connects, after making the bucket where it is missing.
async fn store(weed: &Weed, prefix: &str) -> Arc<dyn ObjectStore> {
    let credentials = aws_sdk_s3::config::Credentials::new(ACCESS, SECRET, None, None, "test");
    let client = aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::Config::builder()
            .behavior_version_latest()
            .region(aws_sdk_s3::config::Region::new("us-east-1"))
            .endpoint_url(weed.endpoint())
            .force_path_style(true)
            .credentials_provider(credentials)
            .build(),
    );
    // The gateway listens before its filer and volumes are ready.
    for _ in 0..100 {
        let made = client.create_bucket().bucket("music").send().await;
        let exists = made.is_err_and(|e| e.into_service_error().is_bucket_already_exists());
        let put = client
            .put_object()
            .bucket("music")
            .key("probe")
            .body(vec![1].into())
            .send()
            .await;
        if put.is_ok() {
            client
                .delete_object()
                .bucket("music")
                .key("probe")
                .send()
                .await
                .unwrap();
            return Arc::new(S3::connect(config(weed, prefix)).await.unwrap());
        }
        let _ = exists;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("the bucket can't be used");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_against_seaweedfs() {
    let Some(weed) = Weed::start() else { return };
    let at_root = store(&weed, "").await;
    let below = store(&weed, "deep/er").await;
    suite::run(&below).await;
    prefixes_keep_apart(&at_root, &below).await;
    abandoned_uploads_leave_no_parts(&weed, &at_root).await;
    mistakes_are_explained(&weed).await;
    urls_connect(&weed).await;
}

async fn prefixes_keep_apart(at_root: &Arc<dyn ObjectStore>, below: &Arc<dyn ObjectStore>) {
    below.put(&key("x/only"), noise(1, 5)).await.unwrap();
    assert_eq!(names(at_root, "deep/er/x/").await, ["deep/er/x/only"]);
    at_root
        .put(&key("deep/erx/other"), noise(1, 5))
        .await
        .unwrap();
    at_root.put(&key("x/other"), noise(1, 5)).await.unwrap();
    assert_eq!(names(below, "x").await, ["x/only"]);
    assert!(
        names(below, "")
            .await
            .iter()
            .all(|name| !name.contains("other"))
    );
}

async fn abandoned_uploads_leave_no_parts(weed: &Weed, store: &Arc<dyn ObjectStore>) {
    let credentials = aws_sdk_s3::config::Credentials::new(ACCESS, SECRET, None, None, "test");
    let client = aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::Config::builder()
            .behavior_version_latest()
            .region(aws_sdk_s3::config::Region::new("us-east-1"))
            .endpoint_url(weed.endpoint())
            .force_path_style(true)
            .credentials_provider(credentials)
            .build(),
    );
    let open = async || {
        client
            .list_multipart_uploads()
            .bucket("music")
            .send()
            .await
            .unwrap()
            .uploads()
            .len()
    };
    let mut upload = store.upload(&key("mp/one")).await.unwrap();
    upload.write(noise(1, 9 << 20)).await.unwrap();
    assert_eq!(open().await, 1, "a full part begins an upload");
    upload.abort().await.unwrap();
    assert_eq!(open().await, 0);
    let mut upload = store.upload(&key("mp/two")).await.unwrap();
    upload.write(noise(1, 9 << 20)).await.unwrap();
    drop(upload);
    for _ in 0..100 {
        if open().await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("a dropped upload's parts stay behind at {}", weed.filer());
}

async fn mistakes_are_explained(weed: &Weed) {
    let explained = async |config: Config| match S3::connect(config).await {
        Err(Error::Config(text)) => text,
        other => panic!("{other:?}"),
    };
    let text = explained(Config {
        bucket: "nothing-here".into(),
        ..config(weed, "")
    })
    .await;
    assert!(text.contains("there is no bucket `nothing-here`"), "{text}");
    let wrong = Some((ACCESS.into(), "wrong".into()));
    let text = explained(Config {
        credentials: wrong,
        ..config(weed, "")
    })
    .await;
    assert!(
        text.contains("refuses the credentials") && !text.contains("wrong"),
        "{text}"
    );
    let stranger = Some(("stranger".into(), SECRET.into()));
    let text = explained(Config {
        credentials: stranger,
        ..config(weed, "")
    })
    .await;
    assert!(
        text.contains("refuses the credentials") && !text.contains(SECRET),
        "{text}"
    );
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let text = explained(Config {
        endpoint: Some(format!("http://{nowhere}")),
        ..config(weed, "")
    })
    .await;
    assert!(
        text.contains("can't be reached") && text.contains(&nowhere.to_string()),
        "{text}"
    );
    let text = explained(Config {
        prefix: "../x".into(),
        ..config(weed, "")
    })
    .await;
    assert!(text.contains("prefix"), "{text}");
    let text = explained(Config {
        part_size: 1 << 20,
        ..config(weed, "")
    })
    .await;
    assert!(text.contains("5 MiB"), "{text}");
}

/// As users start it: everything from a URL and the environment.
async fn urls_connect(weed: &Weed) {
    let url = format!(
        "s3://music/by/url?endpoint={}&region=us-east-1",
        weed.endpoint()
    );
    let program = std::env::current_exe().unwrap();
    let output = tokio::process::Command::new(program)
        .args([
            "--exact",
            "s3::from_the_environment",
            "--ignored",
            "--nocapture",
        ])
        .env("SEGUE_TEST_STORAGE", url)
        .env("AWS_ACCESS_KEY_ID", ACCESS)
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .output()
        .await
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[tokio::test]
#[ignore = "run by the test above, in an environment of its own"]
async fn from_the_environment() {
    let Ok(url) = std::env::var("SEGUE_TEST_STORAGE") else {
        return;
    };
    let store = storage::open(&url).await.unwrap();
    store.put(&key("x"), noise(1, 10)).await.unwrap();
    assert_eq!(names(&store, "").await, ["x"]);
    assert!(format!("{store:?}").contains("s3://music/by/url"));
}
