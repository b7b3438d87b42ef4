//! Tests the `ticklake` binary as a process: signals, exit codes and the environment.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use ticklake::sandbox::{BUCKET, Sandbox};

use crate::{lake, local::MINUTE};

/// A process that does not outlive its test.
struct Process(Child);

impl Process {
    fn start(sandbox: &Sandbox, args: &[&str]) -> Self {
        Self(ticklake(sandbox).args(args).spawn().unwrap())
    }

    /// Waits until the process has ended, and returns its exit code. `None` if a signal ended it.
    async fn ended(mut self) -> Option<i32> {
        within_a_minute("the process ends", async || self.0.try_wait().unwrap().is_some()).await;
        self.0.wait().unwrap().code()
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.0.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // If the test has passed, the process has ended already.
        let _ = self.0.kill();
    }
}

async fn within_a_minute(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(MINUTE, wait).await.expect(what);
}

fn ticklake(sandbox: &Sandbox) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ticklake"));
    for (name, _) in std::env::vars_os()
        .filter(|(name, _)| name.to_str().is_none_or(|name| name.starts_with("AWS_") || name.starts_with("TICKLAKE_")))
    {
        command.env_remove(name);
    }
    // No region is set. With an endpoint, the engine takes a default region.
    command.env("AWS_ENDPOINT_URL_SQS", sandbox.aws.url()).env("AWS_ENDPOINT_URL_S3", sandbox.aws.url());
    command.env("AWS_ENDPOINT_URL_SNS", sandbox.aws.url()).env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_ACCESS_KEY_ID", "local").env("AWS_SECRET_ACCESS_KEY", "local");
    command.env("TICKLAKE_QUEUE__URL", &sandbox.queue_url).env("TICKLAKE_LAKE__BUCKET", BUCKET);
    // This variable is somebody else's, and its value is not text.
    #[cfg(unix)]
    command.env("ODD", <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff"));
    command.env("TICKLAKE_AWS__S3_PATH_STYLE", "true").current_dir(sandbox.lake.parent().unwrap());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

async fn in_flight(sandbox: &Sandbox) -> String {
    let name = QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
    let counts = sandbox.clients.sqs.get_queue_attributes().queue_url(&sandbox.queue_url).attribute_names(name.clone());
    counts.send().await.unwrap().attributes.unwrap().remove(&name).unwrap()
}

async fn send(sandbox: &Sandbox) {
    let body = r#"{"symbol":"AAPL","price":100.25,"volume":1,"seq":7}"#;
    sandbox.clients.sqs.send_message().queue_url(&sandbox.queue_url).message_body(body).send().await.unwrap();
}

/// Invariant 7: SIGTERM drains within its deadline.
#[tokio::test(flavor = "multi_thread")]
async fn signal_commits_what_is_held_and_exits_with_success() {
    for name in ["-TERM", "-INT"] {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::start(dir.path()).await.unwrap();
        send(&sandbox).await;
        let child = Process::start(&sandbox, &["run"]);
        within_a_minute("the message is received", async || in_flight(&sandbox).await == "1").await;
        assert!(lake::ticks(&lake::objects_in(&sandbox.lake)).is_empty(), "the epoch is young");
        child.signal(name);
        assert_eq!(child.ended().await, Some(0), "{name}");
        assert_eq!(lake::ticks(&lake::objects_in(&sandbox.lake)).len(), 1);
        assert_eq!(in_flight(&sandbox).await, "0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn second_signal_ends_at_once_and_the_message_stays_in_the_queue() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(dir.path()).await.unwrap();
    sandbox.aws.faults().add("s3:PutObject=error".parse().unwrap());
    send(&sandbox).await;
    let child = Process::start(&sandbox, &["run"]);
    within_a_minute("the message is received", async || in_flight(&sandbox).await == "1").await;
    child.signal("-TERM");
    within_a_minute("a file is put", async || sandbox.aws.faults().calls("s3:PutObject") > 0).await;
    child.signal("-TERM");
    assert_eq!(child.ended().await, Some(130));
    assert_eq!(in_flight(&sandbox).await, "1", "not deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_exits_with_success_when_the_queue_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(dir.path()).await.unwrap();
    send(&sandbox).await;
    let child = Process::start(&sandbox, &["run", "--drain"]);
    assert_eq!(child.ended().await, Some(0));
    assert_eq!(lake::ticks(&lake::objects_in(&sandbox.lake)).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_that_rejects_a_tick_has_an_exit_code_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(dir.path()).await.unwrap();
    send(&sandbox).await;
    let body = r#"{"symbol":"AAPL","price":"dear","volume":1}"#;
    sandbox.clients.sqs.send_message().queue_url(&sandbox.queue_url).message_body(body).send().await.unwrap();
    let child = Process::start(&sandbox, &["run", "--drain"]);
    assert_eq!(child.ended().await, Some(3));
    let objects = lake::objects_in(&sandbox.lake);
    assert_eq!((lake::ticks(&objects).len(), lake::rejects(&objects).len()), (1, 1));
}

/// A new user pastes one message, and has a working mapping.
#[test]
fn message_that_is_pasted_gives_a_mapping_that_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let decode = |body: &str, args: &[&str]| {
        std::fs::write(dir.path().join("message.json"), body).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ticklake"));
        command.args(["decode", "message.json"]).args(args).current_dir(dir.path());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let trade = r#"{"e":"trade","E":1795392001000,"s":"BNBBTC","t":5,"p":"0.001","q":"100","T":1795392001000}"#;
    let envelope = serde_json::json!({"detail-type": "t", "source": "s", "detail": serde_json::from_str::<serde_json::Value>(trade).unwrap()});
    let unknown = r#"{"rows":[{"ticker":"A","px":1.5,"qty":2,"when":"x"}]}"#;
    for body in [trade, &envelope.to_string(), unknown] {
        let (status, guessed, stderr) = decode(body, &[]);
        assert_eq!(status, Some(0), "{stderr}");
        assert!(guessed.contains("# 1 ticks, 0 rejected, 0 left out"), "{guessed}");
        std::fs::write(dir.path().join("guessed.toml"), guessed).unwrap();
        let (status, printed, stderr) = decode(body, &["--config", "guessed.toml"]);
        assert_eq!(status, Some(0), "{stderr}");
        assert!(printed.ends_with("\n1 ticks, 0 rejected, 0 left out\n"), "{printed}");
    }
    let ticker = trade.replace("\"trade\"", "\"24hrTicker\"");
    let (status, printed, _) = decode(&ticker, &["--set", "decode.preset=binance"]);
    assert_eq!(printed, "left out  1 with e = \"24hrTicker\"\n0 ticks, 0 rejected, 1 left out\n");
    assert_eq!(status, Some(0));
    let (status, printed, _) = decode(&trade.replace("0.001", "dear"), &["--set", "decode.preset=binance"]);
    assert!(printed.starts_with("rejected  no. 0, bad_price: "), "{printed}");
    assert_eq!(status, Some(1));
    let (status, _, stderr) = decode("{}", &[]);
    assert!(stderr.contains("no mapping fits"), "{stderr}");
    assert_eq!(status, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusal_of_a_service_and_of_a_configuration_have_their_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(dir.path()).await.unwrap();
    let child = Process::start(&sandbox, &["run", "--bucket", "no-such-bucket"]);
    send(&sandbox).await;
    let invalid = Process::start(&sandbox, &["run", "--set", "epoch.rows_max=0"]);
    assert_eq!(invalid.ended().await, Some(2));
    within_a_minute("the message is received", async || in_flight(&sandbox).await == "1").await;
    child.signal("-TERM");
    assert_eq!(child.ended().await, Some(1));
}
