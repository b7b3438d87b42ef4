//! A lake in S3: how it is reached, and its copy on this machine.

use std::{env, fs};

use anyhow::{Context as _, ensure};
use aws_sdk_s3::{Client, config::Builder};
use loadgen::Lake;
use tempfile::TempDir;

use super::connect::shared_config;

/// Copies what an audit reads of the lake at `place`, which is `BUCKET` or `BUCKET/PREFIX`, to a folder that is gone
/// with its value.
pub(super) async fn copy(place: &str) -> anyhow::Result<TempDir> {
    let lake = Lake::in_s3(connect(None).await, place);
    let folder = TempDir::new().context("failed to make a folder for the copy")?;
    let ticks = lake.files("ticks").await?;
    ensure!(!ticks.is_empty(), "there are no ticks below s3://{}/ticks/", place.trim_end_matches('/'));
    for file in ticks.into_iter().chain(lake.files("quarantine").await?) {
        let (bytes, to) = (lake.read(&file).await?, folder.path().join(&file));
        let written = to.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&to, bytes));
        written.with_context(|| format!("failed to write {}", to.display()))?;
    }
    Ok(folder)
}

/// A client for it, with the settings of every AWS tool; for the endpoint on loopback, if there is one and no other is
/// set.
pub(super) async fn connect(local: Option<&str>) -> Client {
    let is_set = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].iter().any(|name| env::var_os(name).is_some());
    let local = local.filter(|_| !is_set);
    let mut config = Builder::from(&shared_config(local.is_some()).await);
    if let Some(endpoint) = local {
        config = config.endpoint_url(endpoint);
    }
    // What takes the place of AWS mostly wants the bucket in the path.
    Client::from_conf(config.force_path_style(is_set || local.is_some()).build())
}
