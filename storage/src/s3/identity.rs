//! Who asks a service: credentials, region and endpoint as the environment, the profile or the
//! instance has them, for callers that sign their own requests.

use std::{fmt, time::SystemTime};

use aws_sdk_s3::config::{ProvideCredentials as _, SharedCredentialsProvider};

use super::{Config, shared};
use crate::Error;

/// Credentials to sign with. Never printed.
#[derive(Clone)]
pub struct Keys {
    /// Access key id.
    pub access: String,
    /// Secret access key.
    pub secret: String,
    /// Session token, of credentials for a time.
    pub token: Option<String>,
    /// When they end.
    pub expires: Option<SystemTime>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Where credentials come from, and what the environment says of the service.
pub struct Identity {
    provider: Option<SharedCredentialsProvider>,
    region: Option<String>,
    endpoint: Option<String>,
}

impl Identity {
    /// Looks around once; asks nobody for credentials yet.
    pub async fn load(config: &Config) -> Self {
        let shared = shared(config).await;
        Self {
            provider: shared.credentials_provider(),
            region: shared.region().map(ToString::to_string),
            endpoint: shared.endpoint_url().map(str::to_owned),
        }
    }

    /// The region, if one is set anywhere.
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// Base URL of a service other than AWS, if one is set anywhere.
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// Credentials that are good now.
    ///
    /// # Errors
    /// [`Error::Config`] where there are none.
    pub async fn keys(&self) -> Result<Keys, Error> {
        let none = |detail: String| {
            Error::Config(format!(
                "no S3 credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
                 a profile ({detail})"
            ))
        };
        let provider = self
            .provider
            .as_ref()
            .ok_or_else(|| none("no provider".into()))?;
        let found = provider
            .provide_credentials()
            .await
            .map_err(|e| none(e.to_string()))?;
        Ok(Keys {
            access: found.access_key_id().to_owned(),
            secret: found.secret_access_key().to_owned(),
            token: found.session_token().map(str::to_owned),
            expires: found.expiry(),
        })
    }
}
