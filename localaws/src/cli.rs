//! The arguments of a command that serves, and the serving itself: for the program `localaws`, and for other programs'
//! commands.
//!
//! This file owns what is printed. It does *not* own signals: the caller decides when to stop.

use std::{
    fmt,
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
};

use clap::Args;

use crate::{Error, Fault, LocalAws, Options};

/// The description of a command that serves, for its help.
pub const ABOUT: &str = "\
Serves SQS, S3 and SNS on loopback until Ctrl-C, over the real protocols, so that the AWS CLI and every SDK can use them.

Objects are plain files below --data. Queues, messages, topics and subscriptions are kept there too. All of them survive a restart, \
however the process ended. The server accepts any credentials, unless --credentials names some.";

/// The faults and their syntax, for the help.
pub const FAULTS: &str = "\
Faults are written ACTION=EFFECT or ACTION=EFFECT@HOW_OFTEN. ACTION is an IAM action (sqs:SendMessage), an API operation \
(sqs:SendMessageBatch), or a prefix (s3:*). HOW_OFTEN is a share of the requests (10%) or each n-th (1/3); without it, all.
  deny                      access denied, in the service's words
  throttle, slow-down       throttled; 503 SlowDown from S3
  error, status:503, code:409:ConditionalRequestConflict
                            the request has no effect, and this is the answer
  fail-entries              single entries of a batch fail
  old-receipts              deletes and visibility changes in batches count although the message was received again
  delay:20ms, delay:5ms..40ms
                            later answers; median and 99th percentile
  reset                     the connection is dropped, and the request has no effect
  lose-answer, cut-answer   the request has its effect, but there is no answer, or half of one
  rate:3500                 at most this many a second, per key prefix (S3) or service
  duplicate                 received messages are in the queue once more
  again:10@2                every tenth received message is handed out once more, at a random moment within 3 s (again:10:5s@2:
                            within 5 s), although it is hidden; one of the two shows the receive count 2
  again-deleted:10@2        every tenth received message is handed out once more after it was deleted
  forget-count              messages in a dead-letter queue show the receive count 1
  shuffle:100               messages come in any order, among this many
  sample:30%                short polls see that share of the messages
  stale:10s                 counts of messages are up to this old

While it runs: curl -X PUT -d '[\"s3:PutObject=slow-down@10%\"]' http://ADDR/_localaws/faults; GET shows them, DELETE ends them, and \
GET /_localaws/calls counts the requests.";

/// Where and how to serve.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:4566", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Let --listen be an address that other machines reach; everyone who reaches it may use the whole server
    #[arg(long)]
    pub expose: bool,
    /// The folder for objects, as plain files, and for queues and topics beside them
    #[arg(long, default_value = "./local-aws", value_name = "DIR")]
    pub data: PathBuf,
    /// The region of this server
    #[arg(long, default_value = "us-east-1", value_name = "REGION")]
    pub region: String,
    /// Verify signatures, and accept those of this access key; may be given several times
    #[arg(long, value_name = "ID:SECRET", env = "LOCALAWS_CREDENTIALS", hide_env_values = true, value_delimiter = ',')]
    pub credentials: Vec<AccessKey>,
    /// Switch a fault on from the start; may be given several times
    #[arg(long, value_name = "FAULT")]
    pub fault: Vec<Fault>,
    /// The seed of the faults: with the same seed, the same requests meet the same faults
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    pub seed: u64,
    /// Threads that serve requests; by default half of the cores
    #[arg(long, value_name = "COUNT")]
    pub threads: Option<usize>,
}

/// An access key: its id and its secret. The secret is never printed.
#[derive(Clone)]
pub struct AccessKey {
    id: String,
    secret: String,
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessKey({})", self.id)
    }
}

impl std::str::FromStr for AccessKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let parts = text.split_once(':').filter(|(id, secret)| !id.is_empty() && !secret.is_empty());
        let (id, secret) = parts.ok_or("expected ID:SECRET")?;
        Ok(Self { id: id.to_owned(), secret: secret.to_owned() })
    }
}

/// Why serving failed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The server did not start.
    #[error(transparent)]
    Start(#[from] Error),
    /// The endpoint could not be printed, so nobody would know it.
    #[error("failed to print the endpoint")]
    Print(#[source] io::Error),
}

/// Serves until `shutdown` resolves. Prints the endpoint as shell commands for its users.
pub async fn serve(args: ServeArgs, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
    let ServeArgs { listen, expose, data, region, credentials, fault, seed, threads } = args;
    let example = credentials.first().cloned();
    let defaults = Options::new(data);
    let options = Options {
        listen,
        expose,
        region,
        credentials: credentials.into_iter().map(|key| (key.id, key.secret)).collect(),
        threads: threads.unwrap_or(defaults.threads),
        ..defaults
    };
    let (region, data) = (options.region.clone(), options.data_dir.clone());
    let local = LocalAws::start(options).await?;
    local.faults().set(fault, seed);
    let id = example.as_ref().map_or("local", |key| &key.id);
    // A user who gave a secret knows it. It should not be in a log.
    let secret = if example.is_some() { "..." } else { "local" };
    let introduction = format!(
        "\
# SQS, S3 and SNS at {url}, kept in {}; Ctrl-C ends it. In another shell:
export AWS_ENDPOINT_URL={url}
export AWS_REGION={region}
export AWS_ACCESS_KEY_ID={id}
export AWS_SECRET_ACCESS_KEY={secret}
",
        data.display(),
        url = local.url()
    );
    let mut stdout = io::stdout().lock();
    stdout.write_all(introduction.as_bytes()).and_then(|()| stdout.flush()).map_err(ServeError::Print)?;
    drop(stdout);
    shutdown.await;
    local.shutdown().await;
    Ok(())
}
