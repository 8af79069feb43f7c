//! What a service's failure means, in a sentence that says what to do.

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
};

/// A failure, reduced to what decides and explains.
#[derive(Debug)]
pub(super) struct Fault {
    /// HTTP status, where there was an answer.
    status: Option<u16>,
    /// S3's error code, where the answer had a body.
    code: String,
    /// Whether the service was never reached.
    unreachable: bool,
    /// Everything the SDK knows.
    detail: String,
}

impl Fault {
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        Self {
            status: error.raw_response().map(|r| r.status().as_u16()),
            code: error.code().unwrap_or_default().to_owned(),
            unreachable: matches!(
                error,
                SdkError::DispatchFailure(_) | SdkError::TimeoutError(_)
            ),
            detail: DisplayErrorContext(error).to_string(),
        }
    }

    /// Nothing under that key. A missing bucket is another matter.
    pub(super) fn is_absent(&self) -> bool {
        match self.code.as_str() {
            "NoSuchBucket" => false,
            "NoSuchKey" | "NotFound" => true,
            // An answer to HEAD has no body to hold a code.
            "" => self.status == Some(404),
            _ => false,
        }
    }

    /// The multipart upload was finished or given up before.
    pub(super) fn is_gone_upload(&self) -> bool {
        self.code == "NoSuchUpload" || self.status == Some(404)
    }

    /// The range starts beyond the object.
    pub(super) fn is_unsatisfiable(&self) -> bool {
        self.status == Some(416) || self.code == "InvalidRange"
    }

    pub(super) fn explain(&self, bucket: &str, endpoint: &str) -> String {
        let detail = &self.detail;
        let no_credentials =
            detail.contains("credentials provider") || detail.contains("CredentialsNotLoaded");
        let advice = match (self.code.as_str(), self.status) {
            _ if no_credentials => {
                "no S3 credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile".into()
            }
            _ if self.unreachable => {
                format!("S3 at {endpoint} can't be reached: check the endpoint's address and that it is running")
            }
            ("NoSuchBucket", _) => format!("there is no bucket `{bucket}` at {endpoint}: create it or name another"),
            ("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "ExpiredToken", _) => format!(
                "S3 at {endpoint} refuses the credentials: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ),
            ("AccessDenied", _) | (_, Some(401 | 403)) => format!(
                "S3 at {endpoint} denies access to bucket `{bucket}`: allow these credentials to list, read, write and delete"
            ),
            ("RequestTimeTooSkewed", _) => "this machine's clock is wrong: S3 refuses its signatures".into(),
            ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException", _)
            | (_, Some(301)) => format!("bucket `{bucket}` is in another region: set the region"),
            (_, Some(503 | 429)) => format!("S3 at {endpoint} is overloaded: try again later"),
            _ => format!("S3 at {endpoint} failed"),
        };
        format!("{advice} ({detail})")
    }
}
