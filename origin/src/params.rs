//! What all manifest endpoints share: query parameters and media types.

use http::StatusCode;
use manifests::{Addressing, CodecFilter};
use serde::Deserialize;

use crate::error::{ApiError, ApiResult};

/// Media type of HLS playlists (RFC 8216 §10).
pub(crate) const HLS: &str = "application/vnd.apple.mpegurl";
/// Media type of MPDs (ISO/IEC 23009-1 annex C).
pub(crate) const DASH: &str = "application/dash+xml";

/// Query parameters as sent.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Params {
    addressing: Option<String>,
    codecs: Option<String>,
}

impl Params {
    /// # Errors
    /// 400 that names the values there are.
    pub(crate) fn parse(&self) -> ApiResult<(Addressing, CodecFilter)> {
        let addressing = self
            .addressing
            .as_deref()
            .map_or(Ok(Addressing::default()), str::parse);
        let codecs = self
            .codecs
            .as_deref()
            .map_or(Ok(CodecFilter::default()), str::parse);
        Ok((
            addressing
                .map_err(|e: manifests::BadAddressing| ApiError::bad_request(e.to_string()))?,
            codecs.map_err(|e: manifests::BadCodec| ApiError::bad_request(e.to_string()))?,
        ))
    }
}

/// The filter leaves nothing to play.
pub(crate) fn no_codec() -> ApiError {
    let message = "no rendition is in the codecs asked for; leave `codecs` out to see all";
    ApiError::new(StatusCode::NOT_FOUND, "no_such_codec", message)
}
