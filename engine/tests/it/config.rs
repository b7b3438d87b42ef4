//! Tests the configuration from outside: which source wins, and which error answers a mistake.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use ticklake::config::sources::{self, Assignment, Loaded, SourceError};
use ticklake::config::{LogFormat, Settings, print};
use ticklake::meter::Meters;

/// Sources of settings. All are in memory, except for the file.
#[derive(Default)]
struct Typed {
    file: Option<(TempDir, PathBuf)>,
    assignments: Vec<Assignment>,
}

impl Typed {
    fn file(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ticklake.toml");
        std::fs::write(&path, text).unwrap();
        Self { file: Some((dir, path)), ..Self::default() }
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.assignments.extend(sources::environment([(name.to_owned(), value.to_owned())]));
        self
    }

    fn set(mut self, key: &str, value: &str) -> Self {
        let origin = format!("flag --set {key}");
        self.assignments.push(Assignment { key: key.to_owned(), value: value.to_owned(), origin });
        self
    }

    fn load(&self) -> Result<Loaded, SourceError> {
        sources::load(self.file.as_ref().map(|(_, path)| path.as_path()), &self.assignments)
    }

    fn settings(&self) -> Settings {
        self.load().unwrap().settings
    }

    /// The error's text, with the temporary directory taken out.
    fn error(&self) -> String {
        let text = self.load().unwrap_err().to_string();
        match &self.file {
            Some((dir, _)) => text.replace(&format!("{}/", dir.path().display()), ""),
            None => text,
        }
    }
}

fn env(name: &str, value: &str) -> Typed {
    Typed::default().env(name, value)
}

fn set(key: &str, value: &str) -> Typed {
    Typed::default().set(key, value)
}

fn valid() -> Settings {
    set("queue.url", "https://sqs.eu-west-1.amazonaws.com/123456789012/ticks")
        .set("lake.bucket", "market-lake")
        .settings()
}

#[test]
fn unknown_key_is_named_with_its_source_and_the_nearest_valid_key() {
    let cases = [
        (
            Typed::file("[epoch]\nrow_max = 1\n"),
            "unknown key `epoch.row_max` in ticklake.toml; did you mean `epoch.rows_max`?",
        ),
        (
            env("TICKLAKE_EPOCH__AGE", "10s"),
            "unknown key `epoch.age` in environment variable TICKLAKE_EPOCH__AGE; did you mean `epoch.age_max`?",
        ),
        (
            set("queue.recievers_max", "3"),
            "unknown key `queue.recievers_max` in flag --set queue.recievers_max; did you mean `queue.receivers_max`?",
        ),
        (Typed::file("[epochs]\nrows_max = 1\n"), "unknown key `epochs` in ticklake.toml; did you mean `epoch`?"),
        (
            Typed::file("[queue]\nrows_max = 1\n"),
            "unknown key `queue.rows_max` in ticklake.toml; did you mean `epoch.rows_max`?",
        ),
        (Typed::file("[shutdown]\nxyz = 1\n"), "unknown key `shutdown.xyz` in ticklake.toml; valid here: deadline"),
        (
            Typed::file("[decode.fields]\nprise = \"p\"\n"),
            "unknown key `decode.fields.prise` in ticklake.toml; did you mean `decode.fields.price`?",
        ),
    ];
    for (typed, expected) in cases {
        assert_eq!(typed.error(), expected);
    }
}

#[test]
fn unknown_key_is_blamed_on_its_own_source() {
    let typed = Typed::file("[epoch]\nrows_max = 5\n").env("TICKLAKE_EPOCH__BYTES_MAX", "5").set("epoch.row_max", "5");
    assert!(typed.error().contains("in flag --set epoch.row_max;"), "{}", typed.error());
    let typed = Typed::file("[epoch]\nrow_max = 5\n").env("TICKLAKE_EPOCH__BYTES_MAX", "5").set("epoch.age_max", "5s");
    assert!(typed.error().contains("in ticklake.toml;"), "{}", typed.error());
}

#[test]
fn variable_with_one_underscore_too_few_is_refused_and_those_of_others_are_not() {
    let error = env("TICKLAKE_EPOCH_ROWS_MAX", "5").error();
    assert!(error.contains("TICKLAKE_EPOCH_ROWS_MAX") && error.contains("TICKLAKE_EPOCH__ROWS_MAX"), "{error}");
    assert_eq!(env("TICKLAKE_PORT", "tcp://10.0.0.1:80").settings(), Settings::default());
}

#[test]
fn wrong_value_is_named_with_its_source_and_what_was_expected() {
    let cases = [
        (
            Typed::file("[epoch]\nrows_max = \"many\"\n"),
            "wrong value for `epoch.rows_max` in ticklake.toml: expected a whole number, not negative, found string \"many\"",
        ),
        (
            env("TICKLAKE_EPOCH__AGE_MAX", "30"),
            "wrong value for `epoch.age_max` in environment variable TICKLAKE_EPOCH__AGE_MAX: expected a duration such as \
             \"30s\" or \"5m\", found string \"30\"",
        ),
        (
            set("aws.s3_path_style", "yes"),
            "wrong value for `aws.s3_path_style` in flag --set aws.s3_path_style: expected true or false, found string \
             \"yes\"",
        ),
        (
            set("log.format", "xml"),
            "wrong value for `log.format` in flag --set log.format: expected one of text, json, found `xml`",
        ),
        (
            Typed::file("queue = 3\n"),
            "wrong value for `queue` in ticklake.toml: expected a section with keys, found signed int `3`",
        ),
    ];
    for (typed, expected) in cases {
        assert_eq!(typed.error(), expected);
    }
}

#[test]
fn flag_goes_before_environment_and_environment_before_file() {
    let file = "[epoch]\nrows_max = 1\nbytes_max = 1\nmessages_max = 1\n";
    let typed = Typed::file(file)
        .env("TICKLAKE_EPOCH__ROWS_MAX", "2")
        .env("TICKLAKE_EPOCH__BYTES_MAX", "2")
        .set("epoch.rows_max", "3");
    let epoch = typed.settings().epoch;
    assert_eq!((epoch.rows_max, epoch.bytes_max, epoch.messages_max), (3, 2, 1));
    assert_eq!(epoch.partitions_max, Settings::default().epoch.partitions_max);
}

#[test]
fn text_that_looks_like_a_number_stays_text() {
    let typed = env("TICKLAKE_LAKE__BUCKET", "123").set("lake.prefix", "007").set("aws.region", "true");
    let settings = typed.settings();
    assert_eq!((settings.lake.bucket.as_str(), settings.lake.prefix.as_str()), ("123", "007"));
    assert_eq!(settings.aws.region.as_deref(), Some("true"));
}

#[test]
fn values_may_be_quoted_or_bare() {
    assert_eq!(set("epoch.age_max", "\"10s\"").settings().epoch.age_max, Duration::from_secs(10));
    assert_eq!(set("epoch.age_max", "10s").settings().epoch.age_max, Duration::from_secs(10));
    assert_eq!(set("epoch.rows_max", "1_000").settings().epoch.rows_max, 1000);
    assert_eq!(env("TICKLAKE_LOG__FORMAT", "json").settings().log.format, LogFormat::Json);
}

#[test]
fn empty_text_takes_an_optional_value_back() {
    let file = "[alerts]\ntopic_arn = \"arn:aws:sns:eu-west-1:1:t\"\n";
    assert!(Typed::file(file).settings().alerts.topic_arn.is_some());
    assert_eq!(Typed::file(file).env("TICKLAKE_ALERTS__TOPIC_ARN", "").settings().alerts.topic_arn, None);
}

#[test]
fn variables_of_a_kubernetes_service_are_not_ours() {
    let typed = env("TICKLAKE_PORT", "tcp://10.0.0.1:80").env("TICKLAKE_SERVICE_HOST", "10.0.0.1");
    assert_eq!(typed.settings(), Settings::default());
}

#[test]
fn named_file_must_exist_and_be_toml() {
    let missing = sources::load(Some("/nonexistent/ticklake.toml".as_ref()), &[]).unwrap_err();
    assert_eq!(missing.to_string(), "failed to read the config file /nonexistent/ticklake.toml");
    assert_eq!(Typed::file("[queue\n").error(), "failed to parse the config file ticklake.toml");
}

/// A table in a section, and an array of tables.
const SET: &str = r#"
[decode.fields]
price = "p"
[[detect.threshold]]
symbol = "BTC*"
below = 50000
"#;

#[test]
fn what_is_printed_parses_back_to_the_same_settings() {
    let cases = [
        Typed::default(),
        Typed::file(SET)
            .env("TICKLAKE_LAKE__BUCKET", "a'b\"c\nprefix = 'd'\n")
            .env("TICKLAKE_EPOCH__AGE_MAX", "1m 30s 500ms")
            .set("queue.receivers_max", "3"),
    ];
    for typed in cases {
        let loaded = typed.load().unwrap();
        let printed = print::toml(&loaded.settings, &loaded.origins).unwrap();
        assert_eq!(Typed::file(&printed).settings(), loaded.settings, "{printed}");
    }
}

#[test]
fn every_default_is_printed_and_every_other_value_names_its_source() {
    let typed = Typed::file("[decode.fields]\nprice = \"p\"\n").set("queue.receivers_max", "3");
    let loaded = typed.load().unwrap();
    let printed = print::toml(&loaded.settings, &loaded.origins).unwrap();
    let line = |start: &str| printed.lines().find(|line| line.starts_with(start)).unwrap_or_default();
    assert_eq!(line("receivers_max"), "receivers_max = 3  # from flag --set queue.receivers_max");
    assert!(line("price = ").ends_with("ticklake.toml"), "{printed}");
    assert_eq!(line("wait = "), "wait = \"20s\"");
    assert_eq!(line("topic_arn"), "topic_arn = \"\"");
    for section in [
        "queue", "lake", "alerts", "aws", "budget", "threads", "decode", "detect", "epoch", "encode", "shutdown", "log",
    ] {
        assert!(printed.contains(&format!("[{section}]\n")), "{section} is missing in\n{printed}");
    }
}

#[test]
fn valid_settings_are_accepted() {
    let config = valid().validate().unwrap();
    assert_eq!(config.lake.bucket, "market-lake");
}

#[test]
fn several_queues_are_checked_one_by_one() {
    let problems = |queues: &str| {
        let typed = set("queues", queues).set("lake.bucket", "lake").set("budget.bytes_max", "200000000");
        typed.settings().validate().map(drop).map_err(|invalid| invalid.to_string())
    };
    assert_eq!(problems(r#"["http://a/1/t", "http://a/1/u"]"#), Ok(()));
    let by_environment = env("TICKLAKE_QUEUES", r#"["http://a/1/t", "http://a/1/u"]"#).settings();
    assert_eq!(by_environment.queue_urls().collect::<Vec<_>>(), ["http://a/1/t", "http://a/1/u"]);
    let refused = |queues: &str, why: &str| {
        let told = problems(queues).unwrap_err();
        assert!(told.contains(why), "{told}");
    };
    refused(r#"["http://a/1/t", "b"]"#, "`queues` must be a URL");
    refused(r#"["http://a/1/t", "http://a/1/t"]"#, "`queues` must name each queue once (names http://a/1/t again)");
    // One queue has 16 polls, each of the others has one, and one is extra. Each brings ten of the largest messages.
    refused(r#"["http://a/1/t", "http://a/1/u", "http://a/1/v", "http://a/1/w"]"#, "must be at least 209715200");
}

/// Each case breaks one bound: the key, the value, and how the problem begins.
#[test]
fn every_bound_is_enforced_and_named() {
    let cases = [
        ("queue.url", "", "`queue.url` is required"),
        ("queue.url", "arn:aws:sqs:eu-west-1:123456789012:ticks", "`queue.url` must be a URL"),
        ("queue.url", "https://sqs.eu-west-1.amazonaws.com", "`queue.url` must be a URL"),
        ("queue.url", "http://127.0.0.1/000000000000/ticks/", "`queue.url` must be a URL"),
        ("queues", r#"["http://a/1/t", "b"]"#, "`queues` and `queue.url` must not both be set"),
        ("queue.receivers_max", "0", "`queue.receivers_max` must be at least 1 (is 0)"),
        ("queue.receivers_max", "129", "`queue.receivers_max` must be at most 128 (is 129)"),
        ("queue.receivers_min", "0", "`queue.receivers_min` must be at least 1 (is 0)"),
        ("queue.receivers_min", "17", "`queue.receivers_min` must be at most 16 (is 17)"),
        ("queue.workers", "0", "`queue.workers` must be at least 1 (is 0)"),
        ("queue.workers", "706", "`queue.workers` must be at most 705 (is 706)"),
        ("queue.wait", "21s", "`queue.wait` must be from 0s to 20s (is 21s)"),
        ("queue.wait", "1500ms", "`queue.wait` must be in whole seconds"),
        ("queue.visibility_timeout", "13h", "`queue.visibility_timeout` must be from 5s to 12h (is 13h)"),
        ("queue.visibility_timeout", "20s", "`queue.visibility_timeout` must be longer than `queue.wait`"),
        ("queue.visibility_timeout", "4s", "`queue.visibility_timeout` must be from 5s to 12h (is 4s)"),
        ("lake.bucket", "", "`lake.bucket` is required"),
        ("lake.bucket", "s3://market-lake", "`lake.bucket` must be a bucket's name"),
        ("lake.bucket", "Market", "`lake.bucket` must be a bucket's name"),
        ("lake.prefix", "/eu", "`lake.prefix` must be folders"),
        ("lake.prefix", "eu/", "`lake.prefix` must be folders"),
        ("lake.prefix", "eu/../us", "`lake.prefix` must be folders"),
        ("alerts.topic_arn", "tick-alerts", "`alerts.topic_arn` must be an ARN"),
        ("alerts.topic_arn", "arn:aws:sns:eu-west-1:1:t:extra", "`alerts.topic_arn` must be an ARN"),
        ("aws.region", "EU (Ireland)", "`aws.region` must be a region"),
        ("aws.endpoint_url", "localhost:4566", "`aws.endpoint_url` must begin with http:// or https://"),
        ("aws.attempt_timeout", "20s", "`aws.attempt_timeout` must be longer than `queue.wait`"),
        ("aws.connect_timeout", "0s", "`aws.connect_timeout` must be from 10ms to 10m (is 0s)"),
        ("budget.messages_max", "120001", "`budget.messages_max` must be at most 120000 (is 120001)"),
        ("budget.bytes_max", "1000", "`budget.bytes_max` must be at least 178257920 (is 1000)"),
        ("threads.decode", "0", "`threads.decode` must be at least 1 (is 0)"),
        ("threads.decode", "65", "`threads.decode` must be at most 64 (is 65)"),
        ("threads.detect", "0", "`threads.detect` must be at least 1 (is 0)"),
        ("threads.detect", "65", "`threads.detect` must be at most 64 (is 65)"),
        ("threads.encode", "0", "`threads.encode` must be at least 1 (is 0)"),
        ("threads.encode", "65", "`threads.encode` must be at most 64 (is 65)"),
        ("epoch.rows_max", "0", "`epoch.rows_max` must be at least 1 (is 0)"),
        ("epoch.bytes_max", "0", "`epoch.bytes_max` must be at least 1 (is 0)"),
        ("epoch.messages_max", "0", "`epoch.messages_max` must be at least 1 (is 0)"),
        ("epoch.messages_max", "100001", "`epoch.messages_max` must be at most `budget.messages_max`"),
        ("epoch.partitions_max", "0", "`epoch.partitions_max` must be at least 1 (is 0)"),
        ("epoch.age_max", "0s", "`epoch.age_max` must be from 1ms to 12h (is 0s)"),
        ("encode.row_group_rows", "0", "`encode.row_group_rows` must be at least 1 (is 0)"),
        ("encode.zstd_level", "23", "`encode.zstd_level` must be at most 22 (is 23)"),
        ("decode.fields.price", "volume", "`decode`: "),
        ("detect.spike.window", "0", "`detect`: "),
        ("shutdown.deadline", "0s", "`shutdown.deadline` must be from 2s to 1h (is 0s)"),
        ("metrics.listen", "9464", "`metrics.listen` must be an address and a port"),
        ("log.filter", "ticklake=loud", "`log.filter` must be levels"),
    ];
    for (key, value, expected) in cases {
        let typed =
            set("queue.url", "http://127.0.0.1:4566/000000000000/ticks").set("lake.bucket", "lake").set(key, value);
        let invalid = typed.settings().validate().unwrap_err();
        let found = invalid.problems.iter().any(|problem| problem.starts_with(expected));
        assert!(found, "{key} = {value:?} gave {:?}, expected {expected:?}", invalid.problems);
        assert_eq!(invalid.problems.len(), 1, "{key} = {value:?} gave {:?}", invalid.problems);
    }
}

#[test]
fn passwords_in_urls_are_never_printed() {
    let secret = "https://user:secret@host";
    let typed = set("queues", &format!(r#"["{secret}/1/a", "{secret}/1/a", "{secret}"]"#));
    let typed = typed.set("aws.endpoint_url", secret).set("lake.bucket", &format!("{secret}/b"));
    let loaded = typed.load().unwrap();
    let printed = print::toml(&loaded.settings, &loaded.origins).unwrap();
    assert!(printed.contains(r#"endpoint_url = "https://***@host""#) && !printed.contains("secret"), "{printed}");
    let invalid = loaded.settings.validate().unwrap_err().to_string();
    assert!(invalid.contains("https://***@host/1/a") && !invalid.contains("secret"), "{invalid}");
    let wrong = set("queue.receivers_max", &format!("\"{secret}\"")).load().unwrap_err().to_string();
    assert!(wrong.contains("https://***@host") && !wrong.contains("secret"), "{wrong}");
    let meters = Meters::new(
        &set("queue.url", "https://u:se/cret@host/1/a").set("lake.bucket", "lake").settings().validate().unwrap(),
    );
    assert_eq!(&*meters.queues[0].name, "1/a");
}

#[test]
fn all_problems_are_reported_at_once() {
    let invalid = set("epoch.rows_max", "0").settings().validate().unwrap_err();
    assert_eq!(invalid.problems.len(), 3, "queue, bucket and rows: {invalid}");
}

/// The keys of a document, with their tables: `epoch.rows_max`.
fn keys(table: &toml::Table, prefix: &str) -> Vec<String> {
    let nested = table.iter().flat_map(|(key, value)| match value {
        toml::Value::Table(table) => keys(table, &format!("{prefix}{key}.")),
        _ => vec![format!("{prefix}{key}")],
    });
    nested.collect()
}

#[test]
fn documentation_lists_every_key_with_its_default() {
    let chapter = include_str!("../../../docs/src/configuration.md");
    // The reference is the longest block.
    let blocks = chapter.split("```toml").skip(1).filter_map(|rest| rest.split("```").next());
    let block = blocks.max_by_key(|block| block.len()).unwrap();
    assert_eq!(toml::from_str::<Settings>(block).unwrap(), Settings::default());
    let all = toml::Table::try_from(Settings::default()).unwrap();
    let mut expected = keys(&all, "");
    // The defaults of these depend on the machine.
    expected.retain(|key| !key.starts_with("threads."));
    let mut listed = keys(&block.parse().unwrap(), "");
    expected.sort();
    listed.sort();
    assert_eq!(listed, expected);
}

#[test]
fn every_example_is_a_valid_configuration() {
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut names = Vec::new();
    for example in std::fs::read_dir(&examples).unwrap() {
        let path = example.unwrap().path();
        let settings =
            sources::load(Some(&path), &[]).unwrap_or_else(|error| panic!("{}: {error}", path.display())).settings;
        settings.validate().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        names.push(path.file_name().unwrap().to_owned());
    }
    names.sort();
    assert_eq!(names, ["binance.toml", "equities.toml", "minimal.toml", "several-queues.toml"]);
}
