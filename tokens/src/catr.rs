//! The `catr` claim: how a token may be renewed. Carried and shown; renewing is up to the edge.

use crate::{
    cbor::{Major, Reader, Writer},
    reject::Reject,
};

/// Where a renewed token is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RenewalKind {
    /// Where the old one came from; 0.
    Automatic,
    /// A cookie; 1.
    Cookie,
    /// A response header; 2.
    Header,
    /// A redirect to a URL with the new token; 3.
    Redirect,
}

/// Renewal terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// Where the new token is put; label 0.
    pub kind: RenewalKind,
    /// Seconds from the renewal to the new expiry; label 1.
    pub add_s: u64,
    /// Seconds before expiry from which on a renewal is due; label 2.
    pub deadline_s: Option<u64>,
    /// Cookie name; label 3.
    pub cookie_name: Option<String>,
    /// Header name; label 4.
    pub header_name: Option<String>,
    /// Cookie attributes; label 5.
    pub cookie_params: Vec<String>,
    /// Header parameters; label 6.
    pub header_params: Vec<String>,
    /// Status code of a redirect; label 7.
    pub status: Option<u64>,
}

impl Renewal {
    /// Terms of that kind and length, with everything else left to the edge.
    pub fn new(kind: RenewalKind, add_s: u64) -> Self {
        Self {
            kind,
            add_s,
            deadline_s: None,
            cookie_name: None,
            header_name: None,
            cookie_params: Vec::new(),
            header_params: Vec::new(),
            status: None,
        }
    }
}

/// Reads the claim's value. Unknown labels restrict nothing and are skipped.
pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Renewal, Reject> {
    let (mut kind, mut add_s) = (None, None);
    let mut renewal = Renewal::new(RenewalKind::Automatic, 0);
    let mut seen = Vec::new();
    for _ in 0..reader.map()? {
        let label = reader.int()?;
        if seen.contains(&label) {
            return Err(Reject::Malformed("duplicate renewal label"));
        }
        seen.push(label);
        match label {
            0 => kind = Some(read_kind(reader.uint()?)?),
            1 => add_s = Some(reader.instant()?.max(0.0) as u64),
            2 => renewal.deadline_s = Some(reader.instant()?.max(0.0) as u64),
            3 => renewal.cookie_name = Some(reader.text()?.into()),
            4 => renewal.header_name = Some(reader.text()?.into()),
            5 => renewal.cookie_params = read_params(reader)?,
            6 => renewal.header_params = read_params(reader)?,
            7 => renewal.status = Some(reader.uint()?),
            _ => reader.skip()?,
        }
    }
    match (kind, add_s) {
        (Some(kind), Some(add_s)) => Ok(Renewal {
            kind,
            add_s,
            ..renewal
        }),
        _ => Err(Reject::Malformed("renewal without type or length")),
    }
}

fn read_kind(label: u64) -> Result<RenewalKind, Reject> {
    Ok(match label {
        0 => RenewalKind::Automatic,
        1 => RenewalKind::Cookie,
        2 => RenewalKind::Header,
        3 => RenewalKind::Redirect,
        _ => return Err(Reject::Malformed("unknown renewal type")),
    })
}

/// One text or an array of them.
fn read_params(reader: &mut Reader<'_>) -> Result<Vec<String>, Reject> {
    let count = if reader.peek()? == Major::Array {
        reader.array()?
    } else {
        1
    };
    (0..count)
        .map(|_| reader.text().map(str::to_owned))
        .collect()
}

/// Writes the claim's value.
pub(crate) fn write(renewal: &Renewal, writer: &mut Writer) {
    let names = [(3, &renewal.cookie_name), (4, &renewal.header_name)];
    let params = [(5, &renewal.cookie_params), (6, &renewal.header_params)];
    let optional = usize::from(renewal.deadline_s.is_some())
        + names.iter().filter(|(_, name)| name.is_some()).count()
        + params
            .iter()
            .filter(|(_, params)| !params.is_empty())
            .count()
        + usize::from(renewal.status.is_some());
    writer.map(2 + optional);
    writer.uint(0);
    writer.uint(renewal.kind as u64);
    writer.uint(1);
    writer.uint(renewal.add_s);
    if let Some(deadline) = renewal.deadline_s {
        writer.uint(2);
        writer.uint(deadline);
    }
    for (label, name) in names {
        if let Some(name) = name {
            writer.uint(label);
            writer.text(name);
        }
    }
    for (label, params) in params {
        if !params.is_empty() {
            writer.uint(label);
            writer.array(params.len());
            params.iter().for_each(|param| writer.text(param));
        }
    }
    if let Some(status) = renewal.status {
        writer.uint(7);
        writer.uint(status);
    }
}
