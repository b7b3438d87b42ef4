//! What a program says of itself, in the text format that Prometheus reads.
//!
//! This file reads as much of the format (<https://prometheus.io/docs/instrumenting/exposition_formats/>) as a plot
//! over time needs: of every metric its kind and the sum over its series. Buckets and quantiles are left out; of a
//! histogram its sum and its count remain.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Uri;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::Serialize;

/// The most text that is read.
const TEXT_MAX: usize = 4 << 20;

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// The URL is none.
    #[error("failed to ask for metrics: {url:?} is not an http URL such as http://127.0.0.1:9090/metrics")]
    Url {
        /// It.
        url: String,
    },
    /// Nobody answers there, or not as expected.
    #[error("failed to ask for metrics: {0}")]
    Answer(String),
}

/// Whether a metric only goes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricKind {
    /// It does, until the program starts anew: what counts is by how much.
    Counter,
    /// It is a value.
    Gauge,
}

/// A metric at one time, added up over its labels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Metric {
    /// What it is.
    pub kind: MetricKind,
    /// How much it is.
    pub value: f64,
}

/// Asks one URL.
pub(super) struct Scraper {
    client: Client<HttpConnector, Empty<Bytes>>,
    url: Uri,
}

impl Scraper {
    pub(super) fn new(url: &str) -> Result<Self, ScrapeError> {
        let parsed = url.parse().ok().filter(|uri: &Uri| uri.scheme_str() == Some("http"));
        let parsed = parsed.ok_or_else(|| ScrapeError::Url { url: url.to_owned() })?;
        Ok(Self { client: Client::builder(TokioExecutor::new()).build_http(), url: parsed })
    }

    /// What the metrics are now, by name.
    pub(super) async fn scrape(&self) -> Result<BTreeMap<String, Metric>, ScrapeError> {
        let failed = |error: &dyn std::error::Error| ScrapeError::Answer(error.to_string());
        let answer = self.client.get(self.url.clone()).await.map_err(|error| failed(&error))?;
        if !answer.status().is_success() {
            return Err(ScrapeError::Answer(format!("{} answers {}", self.url, answer.status())));
        }
        let body = Limited::new(answer.into_body(), TEXT_MAX).collect().await;
        let bytes = body.map_err(|error| failed(&*error))?.to_bytes();
        Ok(parse(&String::from_utf8_lossy(&bytes)))
    }
}

/// Reads a page of metrics.
fn parse(text: &str) -> BTreeMap<String, Metric> {
    let mut kinds: HashMap<&str, &str> = HashMap::new();
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    for line in text.lines().map(str::trim) {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            kinds.extend(declared.split_once(' '));
            continue;
        }
        let Some((name, labels, value)) = sample(line) else { continue };
        let family = ["_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
        let kind = match kinds.get(name).or_else(|| kinds.get(family)) {
            Some(&"counter") => MetricKind::Counter,
            Some(&("histogram" | "summary")) if name != family => MetricKind::Counter,
            Some(&("histogram" | "summary")) => continue,
            _ if name.ends_with("_bucket") || labels.contains("quantile=") => continue,
            _ => MetricKind::Gauge,
        };
        metrics.entry(name.to_owned()).or_insert(Metric { kind, value: 0.0 }).value += value;
    }
    metrics
}

/// Name, labels and value of a line; `None` for a comment and for what has no finite value.
fn sample(line: &str) -> Option<(&str, &str, f64)> {
    if line.starts_with('#') {
        return None;
    }
    let (name, labels, rest) = match line.split_once('{') {
        // A brace may be within a label's value, but not after the last label.
        Some((name, rest)) => rest.rsplit_once('}').map(|(labels, rest)| (name, labels, rest))?,
        None => line.split_once(' ').map(|(name, rest)| (name, "", rest))?,
    };
    let value: f64 = rest.split_whitespace().next()?.parse().ok()?;
    value.is_finite().then_some((name.trim(), labels, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_is_read_with_its_kinds_and_summed_over_labels() {
        let page = "# HELP ticks_total good ticks\n# TYPE ticks_total counter\nticks_total 12\n\n\
            # TYPE held gauge\nheld{queue=\"a b} c\"} 3 1700000000000\nheld{queue=\"d\"} 4.5\n\
            # TYPE seconds histogram\nseconds_bucket{le=\"0.1\"} 3\nseconds_bucket{le=\"+Inf\"} 4\nseconds_sum 1.5\nseconds_count 4\n\
            # TYPE took summary\ntook{quantile=\"0.5\"} 9\ntook_sum 2\ntook_count 1\nbare 7\nodd NaN\nnonsense\n";
        let metrics = parse(page);
        let found: Vec<_> = metrics.iter().map(|(name, metric)| (name.as_str(), metric.kind, metric.value)).collect();
        let (counter, gauge) = (MetricKind::Counter, MetricKind::Gauge);
        let expected = [
            ("bare", gauge, 7.0),
            ("held", gauge, 7.5),
            ("seconds_count", counter, 4.0),
            ("seconds_sum", counter, 1.5),
            ("ticks_total", counter, 12.0),
            ("took_count", counter, 1.0),
            ("took_sum", counter, 2.0),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_no_http_url_is_refused() {
        for url in ["", "127.0.0.1:9090/metrics", "https://example.com/metrics", "file:///metrics"] {
            assert!(Scraper::new(url).is_err_and(|error| error.to_string().contains("http URL")), "{url}");
        }
    }
}
