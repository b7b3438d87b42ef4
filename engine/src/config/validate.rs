//! Makes a [`Config`] of [`Settings`]: every value is within its bounds, and values that must agree do.
//!
//! All problems are reported at once, each with its key, its bound and its value, so that one run of `ticklake check`
//! is enough. This file does *not* own whether the queue, the bucket and the topic exist.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::{Config, IN_FLIGHT_MAX, Settings};
use crate::ports::RECEIVE_MAX;
use crate::redact;

/// SQS: "the maximum is 43,200 seconds (12 hours)".
const VISIBILITY_MAX: Duration = Duration::from_hours(12);
/// Half of it must be enough to extend a message, even if the first try fails.
const VISIBILITY_MIN: Duration = Duration::from_secs(5);
/// SQS: `WaitTimeSeconds` is at most 20.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// Beyond this, more polls bring no more messages.
const RECEIVERS: RangeInclusive<usize> = 1..=128;
/// Object keys have at most 1,024 bytes; the rest is for the partition's folders and the epoch.
const PREFIX_BYTES_MAX: usize = 512;
/// Far above any machine's memory, and within what TOML can write.
const BYTES_CEILING: usize = 1 << 50;
/// The Parquet writer's memory grows with the row group.
const ROW_GROUP_ROWS_MAX: usize = 16 << 20;

/// What is wrong with the settings, one sentence per problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration is not valid:\n  {}", problems.join("\n  "))]
pub struct Invalid {
    /// Never empty.
    pub problems: Vec<String>,
}

impl Settings {
    /// Checks every bound, and returns the settings as the [`Config`] that the engine obeys.
    pub fn validate(self) -> Result<Config, Invalid> {
        let mut problems = Problems::default();
        queue(&mut problems, &self);
        lake(&mut problems, &self);
        aws(&mut problems, &self);
        core(&mut problems, &self);
        flow(&mut problems, &self);
        output(&mut problems, &self);
        let problems: Vec<_> = problems.0.iter().map(|problem| redact::urls(problem).into_owned()).collect();
        if problems.is_empty() { Ok(Config(self)) } else { Err(Invalid { problems }) }
    }
}

#[derive(Debug, Default)]
struct Problems(Vec<String>);

impl Problems {
    fn unless(&mut self, acceptable: bool, problem: impl FnOnce() -> String) {
        if !acceptable {
            self.0.push(problem());
        }
    }

    fn range<T: PartialOrd + fmt::Display>(&mut self, key: &str, value: &T, range: &RangeInclusive<T>) {
        self.unless(value >= range.start(), || format!("`{key}` must be at least {} (is {value})", range.start()));
        self.unless(value <= range.end(), || format!("`{key}` must be at most {} (is {value})", range.end()));
    }

    fn duration(&mut self, key: &str, value: Duration, range: RangeInclusive<Duration>) {
        self.unless(range.contains(&value), || {
            let (start, end) = range.into_inner();
            format!("`{key}` must be from {} to {} (is {})", shown(start), shown(end), shown(value))
        });
    }

    fn whole_seconds(&mut self, key: &str, value: Duration) {
        self.unless(value.subsec_nanos() == 0, || {
            format!("`{key}` must be in whole seconds, because SQS takes no fractions (is {})", shown(value))
        });
    }
}

fn shown(duration: Duration) -> humantime_serde::re::humantime::FormattedDuration {
    humantime_serde::re::humantime::format_duration(duration)
}

fn queue(problems: &mut Problems, settings: &Settings) {
    let queue = &settings.queue;
    match (settings.queues.as_slice(), queue.url.as_str()) {
        ([], "") => problems.0.push(
            "`queue.url` is required: set it in the file, with TICKLAKE_QUEUE__URL or with --queue-url".to_owned(),
        ),
        ([], url) => queue_url(problems, "queue.url", url),
        (urls, "") => {
            for url in urls {
                queue_url(problems, "queues", url);
            }
            let again = urls.iter().enumerate().find(|&(at, url)| urls[..at].contains(url));
            problems.unless(again.is_none(), || {
                format!("`queues` must name each queue once (names {} again)", again.map_or("", |(_, url)| url))
            });
        }
        (_, url) => problems.0.push(format!("`queues` and `queue.url` must not both be set (is \"{url}\")")),
    }
    problems.range("queue.receivers_max", &queue.receivers_max, &RECEIVERS);
    problems.range("queue.receivers_min", &queue.receivers_min, &(1..=queue.receivers_max.max(1)));
    problems.duration("queue.wait", queue.wait, Duration::ZERO..=WAIT_MAX);
    problems.whole_seconds("queue.wait", queue.wait);
    problems.duration("queue.visibility_timeout", queue.visibility_timeout, VISIBILITY_MIN..=VISIBILITY_MAX);
    problems.whole_seconds("queue.visibility_timeout", queue.visibility_timeout);
    let is_long_enough = queue.visibility_timeout > queue.wait || queue.visibility_timeout < VISIBILITY_MIN;
    problems.unless(is_long_enough, || {
        format!(
            "`queue.visibility_timeout` must be longer than `queue.wait`, or messages of a quiet poll may no longer be ours when they come (is \
             {}, and `queue.wait` is {})",
            shown(queue.visibility_timeout),
            shown(queue.wait)
        )
    });
}

fn queue_url(problems: &mut Problems, key: &str, url: &str) {
    problems.unless(is_queue_url(url), || {
        let hint = if url.starts_with("arn:") { "; `aws sqs get-queue-url` prints the URL of a queue" } else { "" };
        let example = "https://sqs.eu-west-1.amazonaws.com/123456789012/ticks";
        format!("`{key}` must be a URL such as {example} (is \"{url}\"){hint}")
    });
}

fn lake(problems: &mut Problems, settings: &Settings) {
    let bucket = &settings.lake.bucket;
    problems.unless(!bucket.is_empty(), || {
        "`lake.bucket` is required: set it in the file, with TICKLAKE_LAKE__BUCKET or with --bucket".to_owned()
    });
    problems.unless(bucket.is_empty() || is_bucket_name(bucket), || {
        format!(
            "`lake.bucket` must be a bucket's name: 3 to 63 of a-z, 0-9, `-` and `.`, without `s3://` (is \"{bucket}\")"
        )
    });
    let prefix = &settings.lake.prefix;
    problems.unless(prefix.is_empty() || is_prefix(prefix), || {
        format!(
            "`lake.prefix` must be folders such as market/eu: no slash at either end, no empty folder, letters, digits \
             and !-_.*'() only, at most {PREFIX_BYTES_MAX} bytes (is \"{prefix}\")"
        )
    });
    if let Some(arn) = &settings.alerts.topic_arn {
        problems.unless(is_topic_arn(arn), || {
            let example = "arn:aws:sns:eu-west-1:123456789012:tick-alerts";
            format!("`alerts.topic_arn` must be an ARN such as {example} (is \"{arn}\")")
        });
    }
}

fn aws(problems: &mut Problems, settings: &Settings) {
    let aws = &settings.aws;
    if let Some(region) = &aws.region {
        let acceptable = region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        problems.unless(acceptable, || format!("`aws.region` must be a region such as eu-west-1 (is \"{region}\")"));
    }
    if let Some(url) = &aws.endpoint_url {
        problems.unless(after_scheme(url).is_some(), || {
            format!("`aws.endpoint_url` must begin with http:// or https:// and name a host (is \"{url}\")")
        });
    }
    problems.unless(aws.attempt_timeout > settings.queue.wait, || {
        format!(
            "`aws.attempt_timeout` must be longer than `queue.wait`, or every quiet poll fails (is {}, and `queue.wait` \
             is {})",
            shown(aws.attempt_timeout),
            shown(settings.queue.wait)
        )
    });
    let (short, long) = (Duration::from_millis(10), Duration::from_mins(10));
    problems.duration("aws.attempt_timeout", aws.attempt_timeout, short..=long);
    problems.duration("aws.connect_timeout", aws.connect_timeout, short..=long);
}

/// Adds the problems that the core finds. It knows the key within the section, not the section.
fn core(problems: &mut Problems, settings: &Settings) {
    if let Err(error) = settings.decode.validate() {
        problems.0.push(format!("`decode`: {error}"));
    }
    if let Err(error) = settings.detect.validate() {
        problems.0.push(format!("`detect`: {error}"));
    }
}

/// Checks the bounds of the flow: budget, threads, epochs.
fn flow(problems: &mut Problems, settings: &Settings) {
    let (budget, epoch) = (&settings.budget, &settings.epoch);
    // Every poll reserves room for what it may bring. There must be room for all polls of one busy queue, for the polls
    // of the others while they are quiet, and for one more. Without that one, some polls would wait for ever.
    let (queues, queue) = (settings.queue_urls().count(), &settings.queue);
    let in_range = RECEIVERS.contains(&queue.receivers_max) && queue.receivers_min <= queue.receivers_max;
    let reserves = if in_range { queue.receivers_max + (queues - 1) * queue.receivers_min } else { 0 } + 1;
    let (messages_min, bytes_min) = (reserves * RECEIVE_MAX.messages, reserves * RECEIVE_MAX.bytes);
    problems.range("budget.messages_max", &budget.messages_max, &(messages_min..=queues * IN_FLIGHT_MAX));
    // A worker's share must have room for what its polls reserve.
    let (workers, workers_max) = (settings.queue.workers, IN_FLIGHT_MAX / messages_min);
    problems.range("queue.workers", &workers, &(1..=workers_max));
    problems.range("budget.bytes_max", &budget.bytes_max, &(bytes_min..=BYTES_CEILING));
    let threads = &settings.threads;
    for (key, value) in
        [("threads.decode", &threads.decode), ("threads.detect", &threads.detect), ("threads.encode", &threads.encode)]
    {
        problems.range(key, value, &(1..=64));
    }
    problems.range("epoch.rows_max", &epoch.rows_max, &(1..=1_000_000_000));
    problems.range("epoch.bytes_max", &epoch.bytes_max, &(1..=BYTES_CEILING));
    problems.range("epoch.messages_max", &epoch.messages_max, &(1..=IN_FLIGHT_MAX));
    problems.range("epoch.partitions_max", &epoch.partitions_max, &(1..=100_000));
    problems.duration("epoch.age_max", epoch.age_max, Duration::from_millis(1)..=VISIBILITY_MAX);
    problems.unless(epoch.messages_max <= budget.messages_max, || {
        format!(
            "`epoch.messages_max` must be at most `budget.messages_max` (is {}, and `budget.messages_max` is {}): such \
             an epoch could never fill",
            epoch.messages_max, budget.messages_max
        )
    });
}

fn output(problems: &mut Problems, settings: &Settings) {
    problems.range("encode.row_group_rows", &settings.encode.row_group_rows, &(1..=ROW_GROUP_ROWS_MAX));
    problems.range("encode.zstd_level", &settings.encode.zstd_level, &(1..=22));
    let long = Duration::from_hours(1);
    // A stop waits for open polls. The last fifth of the time is for giving messages back.
    problems.duration("shutdown.deadline", settings.shutdown.deadline, Duration::from_secs(2)..=long);
    if let Some(listen) = &settings.metrics.listen {
        problems.unless(listen.parse::<std::net::SocketAddr>().is_ok(), || {
            format!("`metrics.listen` must be an address and a port such as 127.0.0.1:9464 (is \"{listen}\")")
        });
    }
    let filter = &settings.log.filter;
    problems.unless(EnvFilter::builder().parse(filter).is_ok(), || {
        format!("`log.filter` must be levels such as info or warn,ticklake=debug (is \"{filter}\")")
    });
}

/// Host and path of an HTTP URL; `None` if it is not one.
fn after_scheme(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let is_clean = !rest.contains(|c: char| c.is_whitespace() || c.is_control());
    (is_clean && rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')).then_some(rest)
}

fn is_queue_url(url: &str) -> bool {
    after_scheme(url)
        .and_then(|rest| rest.split_once('/'))
        .is_some_and(|(_, path)| !path.is_empty() && !path.ends_with('/'))
}

fn is_bucket_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    let outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    (3..=63).contains(&bytes.len())
        && bytes.iter().copied().all(inner)
        && outer(bytes.first())
        && outer(bytes.last())
        && !name.contains("..")
}

fn is_prefix(prefix: &str) -> bool {
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"!-_.*'()=".contains(&byte);
    let is_folder = |folder: &str| !matches!(folder, "" | "." | "..") && folder.bytes().all(is_safe);
    prefix.len() <= PREFIX_BYTES_MAX && prefix.split('/').all(is_folder)
}

fn is_topic_arn(arn: &str) -> bool {
    let parts: Vec<&str> = arn.split(':').collect();
    matches!(parts[..], ["arn", partition, "sns", region, account, name]
        if [partition, region, account, name].iter().all(|part| !part.is_empty()))
}
