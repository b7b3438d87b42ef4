//! The ticks of a lake in S3, copied to this machine.

use std::{env, path::Path};

use anyhow::{Context as _, ensure};
use aws_config::BehaviorVersion;
use aws_sdk_s3::{Client, config::Builder};
use aws_smithy_http_client::{
    Builder as HttpBuilder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use tempfile::TempDir;

/// Copies the ticks table of the lake at `place`, which is `BUCKET` or `BUCKET/PREFIX`, to a folder that is gone with its value.
pub(super) async fn ticks(place: &str) -> anyhow::Result<TempDir> {
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    let prefix = prefix.trim_matches('/');
    let root = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    let s3 = connect().await;
    let folder = TempDir::new().context("failed to make a folder for the copy")?;
    let list = s3.list_objects_v2().bucket(bucket).prefix(format!("{root}ticks/"));
    let mut pages = list.into_paginator().send();
    let mut files = 0;
    while let Some(page) = pages.next().await {
        let page = page.with_context(|| format!("failed to list s3://{bucket}/{root}ticks/"))?;
        for key in page.contents().iter().filter_map(|object| object.key()) {
            copy(&s3, bucket, key, &folder.path().join(&key[root.len()..])).await?;
            files += 1;
        }
    }
    ensure!(files > 0, "there are no ticks below s3://{bucket}/{root}ticks/");
    Ok(folder)
}

async fn copy(s3: &Client, bucket: &str, key: &str, to: &Path) -> anyhow::Result<()> {
    let what = || format!("failed to copy s3://{bucket}/{key}");
    let object = s3.get_object().bucket(bucket).key(key).send().await.with_context(what)?;
    let bytes = object.body.collect().await.with_context(what)?.into_bytes();
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).with_context(what)?;
    }
    std::fs::write(to, bytes).with_context(what)
}

async fn connect() -> Client {
    let http = HttpBuilder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let shared = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;
    // What takes the place of AWS mostly wants the bucket in the path.
    let custom = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].iter().any(|name| env::var_os(name).is_some());
    Client::from_conf(Builder::from(&shared).force_path_style(custom).build())
}
