//! What holds for the whole API: its description, its errors, its subsets.

use axum::body::Body;
use http::Method;
use origin::Service;
use serde_json::{Value, json};

use crate::{sample, stack::Stack};

#[tokio::test]
async fn every_operation_of_the_description_answers_as_described() {
    let stack = Stack::start().await;
    let track = stack.add(1, sample::tags("Ann", "Blue", 1, "One")).await;
    let document = stack.client.get("/api/openapi.json").await.json();
    let mut operations = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
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
