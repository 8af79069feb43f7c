//! Which files belong to one album, which of them comes before which, and when an album is complete.
//!
//! An album's loudness needs all its tracks, and `track.json` is written once; so the finished
//! tracks of an album wait here until the last of it in this ingest is done. Owns the waiting.
//! Does not own what is done with a complete album.

use std::{collections::HashMap, path::Path};

use manifests::Tags;

/// A group with more files than this is published track by track, without album loudness:
/// "unknown album" should not hold a whole collection back.
const MAX_TRACKS: usize = 500;

/// Index of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Group(pub(crate) usize);

/// Identity of an album within one ingest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Album {
    title: String,
    /// The album's artist, or the folder where no album artist is given.
    by: String,
}

/// Gives every file its group, in order of first appearance; a file without album tag is a group
/// of its own.
pub(crate) fn group<'a>(files: impl Iterator<Item = (&'a Path, Tags)>) -> Vec<Group> {
    let mut known = HashMap::new();
    let mut next = 0;
    let mut fresh = || {
        next += 1;
        Group(next - 1)
    };
    let mut groups: Vec<_> = files
        .map(|(path, tags)| match album(path, &tags) {
            Some(album) => *known.entry(album).or_insert_with(&mut fresh),
            None => fresh(),
        })
        .collect();
    let sizes = sizes(&groups);
    for group in groups.iter_mut().filter(|group| sizes[group] > MAX_TRACKS) {
        *group = fresh();
    }
    groups
}

fn sizes(groups: &[Group]) -> HashMap<Group, usize> {
    let mut sizes = HashMap::new();
    for group in groups {
        *sizes.entry(*group).or_default() += 1;
    }
    sizes
}

fn album(path: &Path, tags: &Tags) -> Option<Album> {
    let fold = |text: &str| text.trim().to_lowercase();
    let title = tags
        .album
        .as_deref()
        .map(fold)
        .filter(|title| !title.is_empty())?;
    let folder = || {
        path.parent()
            .map(|p| format!("in {}", p.display()))
            .unwrap_or_default()
    };
    let by = tags.album_artist.as_deref().map_or_else(folder, fold);
    Some(Album { title, by })
}

/// Where a file says it is on its album.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    disc: u32,
    track: Option<u32>,
}

impl Position {
    /// By its tags; without a disc it is on the first.
    pub(crate) fn of(tags: &Tags) -> Position {
        Position {
            disc: tags.disc_number.unwrap_or(1),
            track: tags.track_number,
        }
    }
}

/// The file before each: of the same group and disc, with the number before. None where there is no
/// such file, or several.
pub(crate) fn before(groups: &[Group], positions: &[Position]) -> Vec<Option<usize>> {
    let all = || groups.iter().zip(positions);
    let mut at: HashMap<(Group, u32, u32), Option<usize>> = HashMap::new();
    for (n, (group, position)) in all().enumerate() {
        if let Some(track) = position.track {
            at.entry((*group, position.disc, track))
                .and_modify(|several| *several = None)
                .or_insert(Some(n));
        }
    }
    all()
        .map(|(group, position)| {
            let track = position.track?.checked_sub(1)?;
            at.get(&(*group, position.disc, track)).copied().flatten()
        })
        .collect()
}

/// Tracks waiting for their album.
#[derive(Debug)]
pub(crate) struct Waiting<T> {
    /// Files of the group not yet done, and tracks done.
    groups: HashMap<Group, (usize, Vec<T>)>,
}

impl<T> Waiting<T> {
    /// Counts the files of each group.
    pub(crate) fn new(groups: &[Group]) -> Waiting<T> {
        Waiting {
            groups: sizes(groups)
                .into_iter()
                .map(|(g, n)| (g, (n, Vec::new())))
                .collect(),
        }
    }

    /// One file of the group is done, with a track or without. Returns the group's tracks if it
    /// was the last.
    pub(crate) fn done(&mut self, group: Group, track: Option<T>) -> Option<Vec<T>> {
        let (remaining, tracks) = self.groups.get_mut(&group)?;
        *remaining = remaining.saturating_sub(1);
        tracks.extend(track);
        if *remaining > 0 {
            return None;
        }
        self.groups.remove(&group).map(|(_, tracks)| tracks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(album: Option<&str>, album_artist: Option<&str>) -> Tags {
        let own = |s: Option<&str>| s.map(str::to_owned);
        Tags {
            album: own(album),
            album_artist: own(album_artist),
            ..Tags::default()
        }
    }

    #[test]
    fn albums_are_told_apart_by_artist_or_folder() {
        let files = [
            ("a/1", tags(Some("Hits"), None)),
            ("a/2", tags(Some("hits "), None)),
            ("b/1", tags(Some("Hits"), None)),
            ("b/2", tags(Some("Hits"), Some("X"))),
            ("c/9", tags(Some("hits"), Some("x"))),
            ("c/1", tags(None, None)),
            ("c/2", tags(Some(""), None)),
        ];
        let groups = group(files.into_iter().map(|(p, t)| (Path::new(p), t)));
        assert_eq!(groups, [0, 0, 1, 2, 2, 3, 4].map(Group));
    }

    #[test]
    fn a_track_comes_after_the_one_with_the_number_before_on_its_disc() {
        let files = [
            (0, None, Some(2)),
            (0, None, Some(1)),
            (0, Some(1), Some(3)),
            (0, Some(1), Some(5)),
            (0, Some(2), Some(4)),
            (1, None, Some(6)),
            (0, None, None),
            (2, None, Some(1)),
            (2, None, Some(1)),
            (2, None, Some(2)),
            (2, None, Some(0)),
        ];
        let groups: Vec<_> = files.iter().map(|file| Group(file.0)).collect();
        let positions: Vec<_> = files
            .iter()
            .map(|file| {
                Position::of(&Tags {
                    disc_number: file.1,
                    track_number: file.2,
                    ..Tags::default()
                })
            })
            .collect();
        let found = before(&groups, &positions);
        // 1, 2, 3; then a gap, another disc, another album, no number, and two with one number.
        let expected = [
            Some(1),
            None,
            Some(0),
            None,
            None,
            None,
            None,
            Some(10),
            Some(10),
            None,
            None,
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn an_album_is_released_with_its_last_file() {
        let groups = [Group(0), Group(0), Group(1)];
        let mut waiting = Waiting::new(&groups);
        assert_eq!(waiting.done(Group(0), Some('a')), None);
        assert_eq!(waiting.done(Group(1), None), Some(vec![]));
        assert_eq!(waiting.done(Group(0), Some('b')), Some(vec!['a', 'b']));
    }
}
