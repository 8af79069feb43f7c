//! A store named by one text, as users write it in flags and configuration.

use std::sync::Arc;

use crate::{Directory, Error, ObjectStore, S3, s3};

/// Opens a store: a plain path, `file:///dir`, or
/// `s3://bucket/prefix?endpoint=http://host:9000&region=eu-north-1&path-style=true`. What an S3
/// URL leaves open comes from the usual AWS environment and profile.
///
/// # Errors
/// [`Error::Config`] with a sentence that says what to change.
pub async fn open(url: &str) -> Result<Arc<dyn ObjectStore>, Error> {
    match parse(url)? {
        Location::Directory(path) => Ok(Arc::new(Directory::open(path)?)),
        Location::S3(config) => Ok(Arc::new(S3::connect(config).await?)),
    }
}

#[derive(Debug, PartialEq)]
enum Location {
    Directory(String),
    S3(s3::Config),
}

fn parse(url: &str) -> Result<Location, Error> {
    let wrong = |what: String| Error::Config(format!("storage URL `{url}`: {what}"));
    let Some((scheme, rest)) = url.split_once("://") else {
        return if url.is_empty() {
            Err(wrong("is empty".into()))
        } else {
            Ok(Location::Directory(url.into()))
        };
    };
    match scheme {
        "file" if rest.starts_with('/') => Ok(Location::Directory(decode(rest).map_err(wrong)?)),
        "file" => Err(wrong(
            "write file:///absolute/path, with three slashes".into(),
        )),
        "s3" => parse_s3(rest).map(Location::S3).map_err(wrong),
        other => Err(wrong(format!(
            "`{other}` is not supported; use a path, file:// or s3://"
        ))),
    }
}

/// Reads an S3 URL.
pub(crate) fn parse_s3_url(url: &str) -> Result<s3::Config, Error> {
    match parse(url)? {
        Location::S3(config) => Ok(config),
        Location::Directory(_) => Err(Error::Config(format!("`{url}` is no s3:// URL"))),
    }
}

fn parse_s3(rest: &str) -> Result<s3::Config, String> {
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    if bucket.is_empty() {
        return Err("names no bucket; write s3://bucket/prefix".into());
    }
    let mut config = s3::Config::new(bucket);
    config.prefix = decode(prefix.trim_end_matches('/'))?;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value)?;
        match name {
            "endpoint" => config.endpoint = Some(value),
            "region" => config.region = Some(value),
            "path-style" => {
                let value = value
                    .parse()
                    .map_err(|_| "`path-style` is `true` or `false`".to_owned())?;
                config.path_style = Some(value);
            }
            other => {
                return Err(format!(
                    "`{other}` is unknown; there are endpoint, region and path-style"
                ));
            }
        }
    }
    Ok(config)
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = rest.get(..2).and_then(|d| std::str::from_utf8(d).ok());
        let byte = digits.and_then(|d| u8::from_str_radix(d, 16).ok());
        bytes.push(byte.ok_or("holds a `%` without two hexadecimal digits")?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8 once decoded".into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Location, parse};
    use crate::s3;

    #[test]
    fn urls_name_stores() {
        assert_eq!(parse("music").unwrap(), Location::Directory("music".into()));
        assert_eq!(
            parse("/srv/music").unwrap(),
            Location::Directory("/srv/music".into())
        );
        assert_eq!(
            parse("file:///srv/my%20music").unwrap(),
            Location::Directory("/srv/my music".into())
        );
        assert_eq!(parse("s3://b").unwrap(), Location::S3(s3::Config::new("b")));
        let full = "s3://b/a/c/?endpoint=http%3A%2F%2Flocalhost:9000&region=eu&path-style=true";
        let config = s3::Config {
            prefix: "a/c".into(),
            endpoint: Some("http://localhost:9000".into()),
            region: Some("eu".into()),
            path_style: Some(true),
            ..s3::Config::new("b")
        };
        assert_eq!(parse(full).unwrap(), Location::S3(config));
    }

    #[test]
    fn mistakes_are_named() {
        for (url, names) in [
            ("", "empty"),
            ("file://srv", "three slashes"),
            ("ftp://x", "not supported"),
            ("s3:///x", "no bucket"),
            ("s3://b?regoin=eu", "regoin"),
            ("s3://b?path-style=yes", "path-style"),
            ("s3://b?region=%2", "hexadecimal"),
        ] {
            let error = parse(url).unwrap_err().to_string();
            assert!(error.contains(names), "{url}: {error}");
        }
    }
}
