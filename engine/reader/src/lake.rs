//! A lake that a consumer writes, in a folder or in a bucket in S3: the files of its tables, and what is in them.
//!
//! It does *not* own what callers make of the rows.

pub mod rows;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aws_sdk_s3::{Client, error::DisplayErrorContext};
use bytes::Bytes;
use tokio::task;

/// Where a lake is.
#[derive(Debug, Clone)]
pub enum Lake {
    /// The folder that holds its tables.
    Folder(PathBuf),
    /// A bucket.
    S3 {
        /// The client that reaches the bucket.
        client: Client,
        /// The name of the bucket.
        bucket: String,
        /// The beginning of all keys of the lake. It is empty or ends in a slash.
        prefix: String,
    },
}

/// Why a lake cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// A folder or file cannot be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A request to S3 failed.
    #[error("failed to read {place}: {problem}")]
    S3 {
        /// The URL of the object or folder.
        place: String,
        /// The error of the S3 client.
        problem: String,
    },
    /// A file is not well-formed Parquet.
    #[error("failed to read the Parquet file {file}")]
    Parquet {
        /// The file.
        file: String,
        /// What is wrong with it.
        source: parquet::errors::ParquetError,
    },
    /// A file does not have the columns of the ticks table.
    #[error("failed to read {file}: {problem}")]
    Schema {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Lake {
    /// A lake in S3, at `BUCKET` or `BUCKET/PREFIX`.
    #[must_use]
    pub fn in_s3(client: Client, place: &str) -> Self {
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self::S3 { client, bucket: bucket.to_owned(), prefix }
    }

    /// The names of a table's Parquet files, relative to the lake and sorted, such as
    /// `ticks/dt=2026-11-23/hour=14/a.parquet`. There are none if there is no such table.
    pub async fn files(&self, table: &str) -> Result<Vec<String>, LakeError> {
        match self {
            Self::Folder(lake) => {
                let (lake, table) = (lake.clone(), table.to_owned());
                let walk = task::spawn_blocking(move || files_in(&lake, &table)).await;
                walk.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
            }
            Self::S3 { client, bucket, prefix } => {
                let place = format!("{prefix}{table}/");
                let list = client.list_objects_v2().bucket(bucket).prefix(&place);
                let mut pages = list.into_paginator().send();
                let mut files = Vec::new();
                while let Some(page) = pages.next().await {
                    let page = page.map_err(|error| s3_error(bucket, &place, &error))?;
                    let keys = page.contents().iter().filter_map(|object| object.key());
                    files.extend(
                        keys.filter_map(|key| key.strip_prefix(prefix)).filter(|key| is_data(key)).map(str::to_owned),
                    );
                }
                Ok(files)
            }
        }
    }

    /// The bytes of a file.
    pub async fn read(&self, file: &str) -> Result<Bytes, LakeError> {
        match self {
            Self::Folder(lake) => {
                let path = lake.join(file);
                tokio::fs::read(&path).await.map(Into::into).map_err(|source| LakeError::Read { path, source })
            }
            Self::S3 { client, bucket, prefix } => {
                let key = format!("{prefix}{file}");
                let object = client.get_object().bucket(bucket).key(&key).send().await;
                let object = object.map_err(|error| s3_error(bucket, &key, &error))?;
                let bytes = object.body.collect().await.map_err(|error| s3_error(bucket, &key, &error))?;
                Ok(bytes.into_bytes())
            }
        }
    }
}

fn s3_error(bucket: &str, key: &str, error: &(dyn std::error::Error + 'static)) -> LakeError {
    LakeError::S3 { place: format!("s3://{bucket}/{key}"), problem: DisplayErrorContext(error).to_string() }
}

/// Whether a name ends in `.parquet` and no part of it begins with `_` or `.`, which would hide it from Athena.
fn is_data(file: &str) -> bool {
    file.ends_with(".parquet") && !file.split('/').any(|part| part.starts_with(['_', '.']))
}

/// The names of a table's Parquet files in a lake that is a folder, relative to it and sorted. It follows links.
pub fn files_in(lake: &Path, table: &str) -> Result<Vec<String>, LakeError> {
    let mut files = Vec::new();
    let mut folders = vec![table.to_owned()];
    while let Some(folder) = folders.pop() {
        let path = lake.join(&folder);
        let failed = |source| LakeError::Read { path: path.clone(), source };
        let entries = match fs::read_dir(&path) {
            // The folder does not exist, or not any more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let is_link = entry.file_type().map_err(failed)?.is_symlink();
            let is_dir = if is_link { entry.path().is_dir() } else { entry.file_type().map_err(failed)?.is_dir() };
            let below = format!("{folder}/{name}");
            if is_dir && !name.starts_with(['_', '.']) {
                folders.push(below);
            } else if !is_dir && is_data(&below) {
                files.push(below);
            }
        }
    }
    files.sort();
    Ok(files)
}
