//! HTTP/1.1's parsers, for the fuzz targets.

use bytes::Bytes;

use super::{
    body::{Decoder, Part},
    head::{self, Refusal, Scan},
};
use crate::config::Limits;

/// Reads requests one after another from what comes in pieces of `size`; what each was, and the bytes
/// of its body. The last is why the rest isn't read, if it isn't.
pub(crate) fn requests(data: &[u8], size: usize, limits: &Limits) -> Vec<String> {
    let (mut input, mut told) = (Vec::new(), Vec::new());
    let (mut scan, mut taking) = (Scan::default(), None::<(Decoder, Vec<u8>)>);
    for piece in data.chunks(size) {
        input.extend_from_slice(piece);
        match read(&mut input, &mut scan, &mut taking, limits) {
            Ok(more) => told.extend(more),
            Err((more, refusal)) => {
                told.extend(more);
                told.push(format!("{refusal:?}"));
                return told;
            }
        }
        assert!(
            input.len() as u64 <= limits.header_size,
            "{} bytes wait",
            input.len()
        );
    }
    told
}

type Taking = Option<(Decoder, Vec<u8>)>;

fn read(
    input: &mut Vec<u8>,
    scan: &mut Scan,
    taking: &mut Taking,
    limits: &Limits,
) -> Result<Vec<String>, (Vec<String>, Refusal)> {
    let mut told = Vec::new();
    loop {
        if let Some((decoder, body)) = taking {
            let mut rest = &input[..];
            let part = decoder.next(&mut rest, usize::MAX);
            let used = input.len() - rest.len();
            match part {
                Ok(Some(Part::Data(data))) => body.extend_from_slice(data),
                Ok(Some(Part::End(trailers))) => {
                    told.push(format!("{body:?} {trailers:?}"));
                    *taking = None;
                }
                Ok(None) => {
                    input.drain(..used);
                    return Ok(told);
                }
                Err(refusal) => return Err((told, refusal)),
            }
            input.drain(..used);
            continue;
        }
        let blank = input.chunks(2).take_while(|line| line == b"\r\n").count() * 2;
        input.drain(..blank);
        if matches!(input[..], [] | [b'\r']) {
            return Ok(told);
        }
        let found = scan.find(input, limits.header_size);
        let Some(length) = found.map_err(|refusal| (told.clone(), refusal))? else {
            return Ok(told);
        };
        *scan = Scan::default();
        let head: Vec<u8> = input.drain(..length).collect();
        let head = head::parse(&Bytes::from(head), limits);
        let head = head.map_err(|refusal| (told.clone(), refusal))?;
        told.push(format!("{head:?}"));
        *taking = Decoder::new(head.framing).map(|decoder| (decoder, Vec::new()));
    }
}
