//! Where a lake is: a folder, or a bucket with a prefix.
//!
//! It owns how a location is written and, for S3, where credentials come from. It does *not* own what is in the lake.

use std::path::PathBuf;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use url::Url;

/// Why a text is not the location of a lake.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// There is no such folder. An empty answer from a mistyped path would mislead.
    #[error("failed to open the lake: {} is not a folder; give the folder that holds ticks/, or s3://BUCKET/PREFIX", .0.display())]
    NotAFolder(PathBuf),
    /// The text is not a URL, or it names no bucket.
    #[error("failed to open the lake: {0:?} is not of the form s3://BUCKET/PREFIX")]
    NotABucket(String),
    /// The S3 client refused its settings.
    #[error(
        "failed to set up S3 from the environment (AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL)"
    )]
    S3(#[from] object_store::Error),
}

/// A lake's place.
#[derive(Debug, Clone)]
pub struct Location {
    /// Ends with a slash, so that a table's folder can be joined to it.
    base: Url,
    /// The store that reaches the place, or `None` for a folder, which DataFusion reaches by itself.
    store: Option<Arc<dyn ObjectStore>>,
}

impl Location {
    /// Reads `s3://BUCKET/PREFIX`, or the path of a folder.
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        if text.starts_with("s3://") { Self::bucket(text) } else { Self::folder(text) }
    }

    /// The URL of the folder `table`, with a slash at its end.
    pub(crate) fn table(&self, table: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{table}/", self.base.path()));
        url
    }

    /// The store and the URL under which DataFusion must know it.
    pub(crate) fn store(&self) -> Option<(&Url, Arc<dyn ObjectStore>)> {
        self.store.clone().map(|store| (&self.base, store))
    }

    fn folder(text: &str) -> Result<Self, LocationError> {
        let not_a_folder = || LocationError::NotAFolder(PathBuf::from(text));
        let path = std::fs::canonicalize(text).map_err(|_| not_a_folder())?;
        if !path.is_dir() {
            return Err(not_a_folder());
        }
        let base = Url::from_directory_path(path).map_err(|()| not_a_folder())?;
        Ok(Self { base, store: None })
    }

    fn bucket(text: &str) -> Result<Self, LocationError> {
        let not_a_bucket = || LocationError::NotABucket(text.to_owned());
        let base = Url::parse(&format!("{}/", text.trim_end_matches('/'))).map_err(|_| not_a_bucket())?;
        let bucket = base.host_str().filter(|bucket| !bucket.is_empty()).ok_or_else(not_a_bucket)?;
        let builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
        let endpoints = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];
        let endpoint = endpoints.iter().find_map(|key| builder.get_config_value(key));
        // If the user names an http endpoint, http is allowed: a service on the same machine has no certificate.
        let allow_http = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
        let store = builder.with_allow_http(allow_http).build()?;
        Ok(Self { base, store: Some(Arc::new(store)) })
    }
}
