//! Properties over tracks of any length, priming and rate.

use manifests::{
    Addressing, Codec, CodecFilter, Layout, Ticks, Timescale, Track,
    dash::mpd,
    hls::{Item, media, multivariant},
};
use proptest::prelude::*;

use crate::{sample, schema};

fn microseconds(decimal: &str) -> u64 {
    let (whole, fraction) = decimal.split_once('.').unwrap();
    assert_eq!(fraction.len(), 6);
    whole.parse::<u64>().unwrap() * 1_000_000 + fraction.parse::<u64>().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn durations_add_up_exactly(
        samples in 1u64..20_000_000,
        priming in 0u64..6_000,
        padding in 0u64..4_000,
        timescale in prop::sample::select(vec![8_000u32, 44_100, 48_000, 96_000, 192_000]),
    ) {
        let mut r = sample::rendition("opus-96", Codec::Opus, priming, 96_000, samples + padding);
        r.valid = Ticks(samples);
        r.padding = Ticks(padding);
        r.timescale = Timescale(timescale);
        let spans: Vec<_> = r.presented().collect();
        prop_assert_eq!(spans[0].start, Ticks(0));
        for pair in spans.windows(2) {
            prop_assert_eq!(pair[0].start.0 + pair[0].duration.0, pair[1].start.0);
            prop_assert_eq!(pair[0].bytes.end(), pair[1].bytes.start);
        }
        prop_assert_eq!(spans.iter().map(|s| s.duration.0).sum::<u64>(), samples);

        let mut track = sample::with_ladder(samples, &sample::LADDER[..1]);
        track.renditions = vec![r];
        prop_assert!(track.check().is_ok());
        let item = Item { track: &track, rendition: &track.renditions[0] };
        let text = media(&[item], &Layout::v1(Addressing::Ranges));
        let extinf: Vec<u64> = text
            .lines()
            .filter_map(|l| l.strip_prefix("#EXTINF:")?.strip_suffix(','))
            .map(microseconds)
            .collect();
        let us = |ticks: u64| {
            (u128::from(ticks) * 1_000_000 + u128::from(timescale) / 2) / u128::from(timescale)
        };
        // As long as the sound, unless the last segment is too short to take the priming off.
        let sum = u128::from(extinf.iter().sum::<u64>());
        let last = track.renditions[0].decoded().last().unwrap();
        if last.duration.0 > 1 {
            prop_assert_eq!(sum, us(samples));
        } else {
            prop_assert!((us(samples)..=us(samples + priming)).contains(&sum));
        }
        let target: u64 = text
            .lines()
            .find_map(|l| l.strip_prefix("#EXT-X-TARGETDURATION:"))
            .unwrap()
            .parse()
            .unwrap();
        prop_assert!(extinf.iter().all(|us| (us + 500_000) / 1_000_000 <= target));
    }

    #[test]
    fn any_title_leaves_the_manifests_well_formed(title in "\\PC*|[\"\\n\\r<>&'\u{0}-\u{1f}]*") {
        let mut track: Track = sample::with_ladder(480_000, &sample::LADDER);
        track.tags.title = title;
        let layout = Layout::v1(Addressing::Ranges);
        let xml = mpd(&[&track], CodecFilter::default(), &layout).unwrap();
        prop_assert_eq!(schema::complaints(&xml), Vec::<String>::new());
        let hls = multivariant(&[&track], CodecFilter::default(), &layout).unwrap();
        let uris = hls.lines().filter(|l| !l.starts_with('#')).count();
        prop_assert_eq!(uris, 8);
        prop_assert!(m3u8_rs::parse_playlist_res(hls.as_bytes()).is_ok());
    }

    #[test]
    fn reading_arbitrary_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Track::from_json(&bytes);
    }
}
