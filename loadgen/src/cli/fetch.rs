//! A lake in S3: how it is reached, and its copy on this machine.

use std::{env, fs};

use anyhow::{Context as _, ensure};
use aws_config::BehaviorVersion;
use aws_sdk_s3::{Client, config::Builder};
use aws_smithy_http_client::{
    Builder as HttpBuilder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use loadgen::Lake;
use tempfile::TempDir;

/// Copies what an audit reads of the lake at `place`, which is `BUCKET` or `BUCKET/PREFIX`, to a folder that is gone with its value.
pub(super) async fn copy(place: &str) -> anyhow::Result<TempDir> {
    let lake = Lake::in_s3(connect().await, place);
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

/// A client for it, with the credentials and the endpoint of every AWS tool.
pub(super) async fn connect() -> Client {
    let http = HttpBuilder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let shared = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;
    // What takes the place of AWS mostly wants the bucket in the path.
    let custom = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].iter().any(|name| env::var_os(name).is_some());
    Client::from_conf(Builder::from(&shared).force_path_style(custom).build())
}
