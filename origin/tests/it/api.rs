//! What holds for the whole API: its description, its errors, its subsets.

use std::{collections::BTreeSet, path::PathBuf};

use axum::body::Body;
use http::Method;
use origin::Service;
use serde_json::{Value, json};

use crate::{client::Answer, sample, stack::Stack};

#[tokio::test]
async fn every_operation_of_the_description_answers_as_described() {
    let stack = Stack::start().await;
    let track = stack.add(1, sample::tags("Ann", "Blue", 1, "One")).await;
    let document = stack.client.get("/api/openapi.json").await.json();
    let mut operations = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if ["jobs", "uploads"].contains(&operation["tags"][0].as_str().unwrap()) {
                continue;
            }
            operations += 1;
            let url = example(&stack, path, &track).await;
            let body = match operation["operationId"].as_str().unwrap() {
                "addItems" => json!({ "track_ids": [track.id] }),
                "orderItems" => json!({ "item_ids": [] }),
                "createPlaylist" | "renamePlaylist" => json!({ "name": "x" }),
                _ => Value::Null,
            };
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let headers = [("content-type", "application/json")];
            let answer = stack
                .client
                .send(method.clone(), &url, &headers, body.to_string())
                .await;
            let described = &operation["responses"][answer.status.to_string()];
            assert!(
                described.is_object(),
                "{method} {url}: {} {}",
                answer.status,
                answer.text()
            );
            let good = answer.status < 400
                || ["removeItem", "orderItems"]
                    .contains(&operation["operationId"].as_str().unwrap());
            assert!(good, "{method} {url}: {} {}", answer.status, answer.text());
            fits(&document, described, &answer);
        }
    }
    assert!(operations >= 25, "{operations}");
}

/// Calls to operations that need the key, one after the other.
struct Keyed<'a> {
    stack: &'a Stack,
    document: Value,
    called: BTreeSet<String>,
}

impl Keyed<'_> {
    /// Calls an operation on `id` with a JSON body and fields, and holds the answer against the
    /// description.
    async fn call(
        &mut self,
        operation: &str,
        id: &str,
        fields: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let paths = self.document["paths"].as_object().unwrap();
        let (path, method, described) = paths
            .iter()
            .flat_map(|(path, methods)| {
                let methods = methods.as_object().unwrap();
                methods.iter().map(move |(method, o)| (path, method, o))
            })
            .find(|(_, _, described)| described["operationId"] == operation)
            .unwrap_or_else(|| panic!("{operation} is not described"));
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let key = crate::uploads::key(self.stack.data.path());
        let mut all = vec![("authorization", key.as_str()), ("tus-resumable", "1.0.0")];
        all.extend_from_slice(fields);
        let url = path.replace("{id}", id);
        let answer = self.stack.client.send(method, &url, &all, body).await;
        assert!(answer.status < 300, "{operation}: {}", answer.text());
        let response = &described["responses"][answer.status.to_string()];
        assert!(response.is_object(), "{operation}: {}", answer.status);
        fits(&self.document, response, &answer);
        self.called.insert(operation.to_owned());
        answer
    }

    async fn json(&mut self, operation: &str, id: &str, body: Value) -> Value {
        let fields = [("content-type", "application/json")];
        let answer = self.call(operation, id, &fields, body.to_string()).await;
        answer.json()
    }
}

#[tokio::test]
async fn jobs_and_uploads_answer_as_described() {
    let stack = Stack::start().await;
    let mut api = Keyed {
        document: stack.client.get("/api/openapi.json").await.json(),
        stack: &stack,
        called: BTreeSet::new(),
    };
    let job = api
        .json("addJob", "", json!({ "sources": ["/music/a.flac"] }))
        .await;
    let id = job["id"].as_str().unwrap().to_owned();
    api.json("listJobs", "", Value::Null).await;
    let claim = json!({ "worker": "w", "lasts_s": 60 });
    let lease = api.json("claimJob", "", claim.clone()).await["lease"].clone();
    let beat = json!({ "lease": lease, "progress": 0.5 });
    assert_eq!(api.json("renewLease", &id, beat).await, "yours");
    api.json("releaseJob", &id, json!({ "lease": lease })).await;
    let lease = api.json("claimJob", "", claim.clone()).await["lease"].clone();
    assert!(api.json("claimJob", "", claim).await.is_null());
    let failure = json!({ "source": "a", "reason": "r", "error": "e", "transient": false });
    let outcome = json!({ "tracks": [], "failures": [failure] });
    let finish = json!({ "lease": lease, "outcome": outcome });
    api.json("finishJob", &id, finish).await;
    assert_eq!(api.json("getJob", &id, Value::Null).await["state"], "dead");
    api.json("retryJob", &id, json!({})).await;
    api.json("cancelJob", &id, json!({})).await;

    api.call("uploadOptions", "", &[], Body::empty()).await;
    let length = [("upload-length", "4")];
    let made = api.call("createUpload", "", &length, Body::empty()).await;
    let id = made.header("location").rsplit('/').next().unwrap();
    api.call("oneUploadOptions", id, &[], Body::empty()).await;
    api.call("headUpload", id, &[], Body::empty()).await;
    let bytes = [
        ("upload-offset", "0"),
        ("content-type", "application/offset+octet-stream"),
    ];
    let last = api.call("appendUpload", id, &bytes, "fLaC").await;
    assert!(last.header("segue-job").starts_with('j'));
    api.call("endUpload", id, &[], Body::empty()).await;

    for methods in api.document["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            let tag = operation["tags"][0].as_str().unwrap();
            let id = operation["operationId"].as_str().unwrap();
            let keyed = ["jobs", "uploads"].contains(&tag);
            assert_eq!(api.called.contains(id), keyed, "{id}");
        }
    }
}

/// The routes as the sources have them: path, and methods in lower case.
fn routes() -> Vec<(String, Vec<&'static str>)> {
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut routes = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // The player's pages are for people.
            if path.extension().is_none_or(|e| e != "rs") || path.ends_with("web.rs") {
                continue;
            }
            let text = std::fs::read_to_string(path).unwrap();
            for route in text.split(".route(").skip(1) {
                let path = route.split('"').nth(1).unwrap();
                // Up to the parenthesis that closes the call.
                let mut depth = 1;
                let end = route.find(|c: char| {
                    depth += i32::from(c == '(') - i32::from(c == ')');
                    depth == 0
                });
                let call = &route[..end.unwrap()];
                let methods = ["get", "head", "post", "put", "patch", "delete"]
                    .into_iter()
                    .filter(|m| {
                        let starts = [format!(" {m}("), format!(".{m}("), format!("\t{m}(")];
                        starts.iter().any(|start| call.contains(start))
                    });
                routes.push((path.to_owned(), methods.collect()));
            }
        }
    }
    routes
}

#[tokio::test]
async fn every_route_is_described() {
    let stack = Stack::start().await;
    let document = stack.client.get("/api/openapi.json").await.json();
    let described = document["paths"].as_object().unwrap();
    // A route's parameter stands for any segment of a described path.
    let is_of = |path: &str, route: &str| {
        let (path, route): (Vec<_>, Vec<_>) =
            (path.split('/').collect(), route.split('/').collect());
        path.len() == route.len()
            && path
                .iter()
                .zip(route)
                .all(|(p, r)| *p == r || r.starts_with('{'))
    };
    let routes = routes();
    assert!(routes.len() > 20, "{routes:?}");
    for (route, methods) in routes {
        assert!(!methods.is_empty(), "{route}");
        for method in methods {
            let found = described
                .iter()
                .any(|(path, operations)| is_of(path, &route) && operations[method].is_object());
            assert!(found, "{method} {route} is not in openapi.json");
        }
    }
}

/// A URL of that path at which there is something.
async fn example(stack: &Stack, path: &str, track: &manifests::Track) -> String {
    let albums = stack.client.get("/api/v1/albums").await.json();
    let album = albums["albums"][0]["id"].as_str().unwrap();
    let artist = albums["albums"][0]["artist_id"].as_str().unwrap();
    let playlist = if path.contains("playlists/{id}") {
        let (_, made) = stack
            .client
            .json(Method::POST, "/api/v1/playlists", json!({"name": "x"}))
            .await;
        let id = made["id"].as_str().unwrap().to_owned();
        let items = format!("/api/v1/playlists/{id}/items");
        if path.starts_with("/v1/") {
            stack
                .client
                .json(Method::POST, &items, json!({"track_ids": [track.id]}))
                .await;
        }
        id
    } else {
        String::new()
    };
    let id = match path.split('/').nth(3).unwrap_or_default() {
        "albums" => album,
        "artists" => artist,
        "tracks" => &track.id.0,
        _ => &playlist,
    };
    let query = if path.ends_with("/search") {
        "?q=one"
    } else {
        ""
    };
    path.replace("{track}", &track.id.0)
        .replace("{revision}", &track.revision.0)
        .replace("{rendition}", "opus-96")
        .replace("{n}", "1")
        .replace("{item}", "i0")
        .replace("{name}", "cover.png")
        .replace("{id}", id)
        + query
}

/// The answer's type is described, and a JSON object has the fields that its schema requires and
/// no others.
fn fits(document: &Value, described: &Value, answer: &crate::client::Answer) {
    let Some(content) = described["content"].as_object() else {
        return;
    };
    let (mime, media) = content.iter().next().unwrap();
    let sent = answer.header("content-type").split(';').next().unwrap();
    assert!(
        sent == mime || mime == "image/*" && sent.starts_with("image/"),
        "{sent} for {mime}"
    );
    if mime == "application/json" {
        check(document, &media["schema"], &answer.json());
    }
}

fn check(document: &Value, schema: &Value, value: &Value) {
    if let Some(path) = schema["$ref"].as_str() {
        return check(document, document.pointer(&path[1..]).unwrap(), value);
    }
    if let Some(items) = value.as_array() {
        items
            .iter()
            .for_each(|item| check(document, &schema["items"], item));
    }
    let (Some(properties), Some(object)) = (schema["properties"].as_object(), value.as_object())
    else {
        return;
    };
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(
            object.contains_key(name.as_str().unwrap()),
            "{name} is missing in {value}"
        );
    }
    for (name, value) in object {
        let property = properties.get(name);
        check(
            document,
            property.unwrap_or_else(|| panic!("`{name}` is not described")),
            value,
        );
    }
}

#[tokio::test]
async fn mistakes_get_json_that_says_what_to_do() {
    let stack = Stack::start().await;
    let nowhere = stack.client.get("/api/v1/nowhere").await;
    assert_eq!(
        (nowhere.status, nowhere.error_code().as_str()),
        (404, "not_found")
    );
    assert_eq!(nowhere.header("cache-control"), "no-store");
    let method = stack
        .client
        .send(Method::PUT, "/api/v1/albums", &[], Body::empty())
        .await;
    assert_eq!(
        (method.status, method.error_code().as_str()),
        (405, "method_not_allowed")
    );
    assert!(
        method.header("allow").contains("GET"),
        "{:?}",
        method.headers
    );
    let page = stack.client.get("/api/v1/albums?limit=many").await;
    assert_eq!(
        (page.status, page.error_code().as_str()),
        (400, "bad_request")
    );
    let encoding = stack.client.get("/api/v1/albums/%ff").await;
    assert_eq!(
        (encoding.status, encoding.error_code().as_str()),
        (400, "bad_request")
    );
}

#[tokio::test]
async fn a_process_answers_for_its_services_only() {
    let stack = Stack::start_with(|c| c.services = [Service::Catalog].into()).await;
    assert_eq!(stack.client.get("/api/v1/albums").await.status, 200);
    assert_eq!(stack.client.get("/livez").await.status, 200);
    for closed in [
        "/api/v1/playlists",
        "/api/v1/keyset",
        "/v1/tracks/t1/index.m3u8",
    ] {
        assert_eq!(
            stack.client.get(closed).await.error_code(),
            "not_found",
            "{closed}"
        );
    }
    assert_eq!("playlists".parse(), Ok(Service::Playlists));
    assert!(
        "catalogue"
            .parse::<Service>()
            .unwrap_err()
            .to_string()
            .contains("catalog,")
    );
}

#[tokio::test]
async fn operators_see_requests_by_route() {
    let stack = Stack::start().await;
    for n in 0..3 {
        stack.client.get(&format!("/api/v1/tracks/t{n}")).await;
    }
    assert_eq!(stack.client.get("/readyz").await.text(), "ok\n");
    let metrics = stack.client.get("/metrics").await;
    let line = "http_server_request_duration_seconds_count{http_route=\"/api/v1/tracks/{id}\",\
                http_request_method=\"GET\",http_response_status_code=\"404\"} 3";
    assert!(metrics.text().contains(line), "{}", metrics.text());
}
