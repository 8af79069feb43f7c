//! Which tracks belong to one album and one artist, decided by tags alone, so that every process
//! and every re-run decides the same.

use manifests::Tags;
use sha2::{Digest, Sha256};

const UNKNOWN_ARTIST: &str = "Unknown artist";
const UNKNOWN_ALBUM: &str = "Unknown album";
const VARIOUS_ARTISTS: &str = "Various artists";

/// Digits of an id: 100 bits.
const ID_DIGITS: usize = 20;

/// Where a track belongs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) album: Named,
    pub(super) album_artist: Named,
    pub(super) artist: Named,
}

/// A thing known by its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) id: String,
    pub(super) name: String,
    /// What it is sorted by: lower case, without a leading article.
    pub(super) sort: String,
}

impl Place {
    /// An album is its title and artist: the album artist, else "Various artists" for a
    /// compilation, else the track's artist. Without an album, an artist's tracks share one that
    /// is called unknown.
    pub(super) fn of(tags: &Tags) -> Self {
        let artist = given(tags.artist.as_deref()).or_else(|| given(tags.album_artist.as_deref()));
        let artist = artist.unwrap_or_else(|| UNKNOWN_ARTIST.to_owned());
        let album_artist = match given(tags.album_artist.as_deref()) {
            Some(name) => name,
            None if tags.compilation => VARIOUS_ARTISTS.to_owned(),
            None => artist.clone(),
        };
        let title = given(tags.album.as_deref()).unwrap_or_else(|| UNKNOWN_ALBUM.to_owned());
        let key = format!("{}\0{}", fold(&album_artist), fold(&title));
        Self {
            album: Named {
                id: id("al", &key),
                sort: sort_key(&title),
                name: title,
            },
            album_artist: Named::artist(album_artist),
            artist: Named::artist(artist),
        }
    }
}

impl Named {
    fn artist(name: String) -> Self {
        Self {
            id: id("ar", &fold(&name)),
            sort: sort_key(&name),
            name,
        }
    }
}

/// A tag's text with its blanks tidied, unless there is none.
fn given(text: Option<&str>) -> Option<String> {
    let tidy = text?.split_whitespace().collect::<Vec<_>>().join(" ");
    (!tidy.is_empty()).then_some(tidy)
}

/// Text in which two spellings that differ in case are the same.
pub(super) fn fold(text: &str) -> String {
    text.to_lowercase()
}

fn sort_key(name: &str) -> String {
    let folded = fold(name);
    match folded.strip_prefix("the ") {
        Some(rest) if !rest.is_empty() => rest.to_owned(),
        _ => folded,
    }
}

/// A prefix and 20 digits of Crockford's base32, lower case, of a key's SHA-256.
fn id(prefix: &str, key: &str) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let digest = Sha256::digest(key.as_bytes());
    let bit = |n: usize| usize::from(digest[n / 8] >> (7 - n % 8) & 1);
    let digit = |i: usize| (0..5).fold(0, |value, b| value << 1 | bit(i * 5 + b));
    let digits = (0..ID_DIGITS).map(|i| char::from(DIGITS[digit(i)]));
    prefix.chars().chain(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(artist: &str, album_artist: &str, album: &str, compilation: bool) -> Place {
        let some = |s: &str| (!s.is_empty()).then(|| s.to_owned());
        Place::of(&Tags {
            artist: some(artist),
            album_artist: some(album_artist),
            album: some(album),
            compilation,
            ..Tags::default()
        })
    }

    #[test]
    fn tracks_of_one_album_find_each_other() {
        let album = |p: Place| p.album.id;
        let first = place("Ann", "", "Blue", false);
        assert_eq!(first.album.id, album(place("ann ", "", " BLUE", false)));
        assert_eq!(
            first.album.id,
            album(place("Ann feat. Bob", "Ann", "Blue", false))
        );
        assert_ne!(first.album.id, album(place("Bob", "", "Blue", false)));
        let mix = place("Ann", "", "Mix", true);
        assert_eq!(mix.album_artist.name, "Various artists");
        assert_eq!(mix.album.id, album(place("Bob", "", "Mix", true)));
        assert_eq!(mix.artist.id, first.artist.id);
    }

    #[test]
    fn missing_tags_have_a_place_too() {
        let none = place("", "", "", false);
        assert_eq!(none.album.name, "Unknown album");
        assert_eq!(none.artist.name, "Unknown artist");
        assert_ne!(none.album.id, place("Ann", "", "", false).album.id);
        assert_eq!(none.album.id.len(), 2 + 20);
        assert_eq!(place("The Who", "", "", false).artist.sort, "who");
    }
}
