//! SQS over its JSON protocol: the queues, and the operation that a request names.
//!
//! This file owns the registry and the routing. The operations are in `admin` and `messages`, a queue's behaviour in
//! `queue` and `live`. This file does *not* own the listener.

mod error;
mod protocol;

mod admin;
mod messages;
mod moves;

mod attributes_md5;
mod deduplication;
mod journal;
mod lanes;
mod live;
mod message;
mod queue;
mod settings;

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock, atomic::AtomicU32},
};

use hyper::{HeaderMap, Response, header};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub(crate) use self::{
    attributes_md5::{Attribute, AttributeInput, Attributes, Value},
    deduplication::Deduplication,
    error::SqsError,
    message::Extras,
    protocol::sequence_number,
};
use self::{live::LiveQueue, message::Content, protocol::QueueRequest, queue::Queue};
use crate::{
    body::{BodyError, ReplyBody, Reset},
    clock::Clock,
    faults::{Effect, FaultKind, Faults, Operation, Verdict},
    sigv4::Refusal,
};

/// The answer of an operation.
type Reply = Result<Response<ReplyBody>, SqsError>;

/// The service.
#[derive(Debug)]
pub(crate) struct Sqs {
    /// Queues by region and name.
    regions: RwLock<HashMap<String, BTreeMap<String, Arc<LiveQueue>>>>,
    endpoint: String,
    /// The folder of the journals, with one folder per region.
    folder: PathBuf,
    clock: Clock,
    faults: Faults,
    next_identity: AtomicU32,
    moves: moves::Moves,
}

macro_rules! operations {
    ($($name:literal by $action:literal),* $(,)?) => {
        /// All operations of this server, each with the IAM action that allows it.
        pub(crate) const OPERATIONS: &[(&str, Operation)] = &[
            $(($name, Operation { name: concat!("sqs:", $name), action: concat!("sqs:", $action) })),*
        ];
    };
}

operations![
    "SendMessage" by "SendMessage",
    "SendMessageBatch" by "SendMessage",
    "ReceiveMessage" by "ReceiveMessage",
    "DeleteMessage" by "DeleteMessage",
    "DeleteMessageBatch" by "DeleteMessage",
    "ChangeMessageVisibility" by "ChangeMessageVisibility",
    "ChangeMessageVisibilityBatch" by "ChangeMessageVisibility",
    "CreateQueue" by "CreateQueue",
    "GetQueueUrl" by "GetQueueUrl",
    "ListQueues" by "ListQueues",
    "ListDeadLetterSourceQueues" by "ListDeadLetterSourceQueues",
    "StartMessageMoveTask" by "StartMessageMoveTask",
    "ListMessageMoveTasks" by "ListMessageMoveTasks",
    "CancelMessageMoveTask" by "CancelMessageMoveTask",
    "DeleteQueue" by "DeleteQueue",
    "PurgeQueue" by "PurgeQueue",
    "GetQueueAttributes" by "GetQueueAttributes",
    "SetQueueAttributes" by "SetQueueAttributes",
    "TagQueue" by "TagQueue",
    "UntagQueue" by "UntagQueue",
    "ListQueueTags" by "ListQueueTags",
];

impl Sqs {
    /// Opens the queues whose journals are in `folder`. `endpoint` is the beginning of queue URLs.
    pub(crate) fn open(folder: PathBuf, endpoint: String, clock: Clock, faults: Faults) -> io::Result<Arc<Self>> {
        fs::create_dir_all(&folder)?;
        let (mut regions, mut identities) = (HashMap::new(), Vec::new());
        for (region, name, lines) in journal::all(&folder)? {
            let Some((queue, setup, unread)) = Queue::restore(&lines, clock.now()) else {
                tracing::warn!(queue = name, "a queue's journal has no line with the queue's setup and was left alone");
                continue;
            };
            if unread > 0 {
                tracing::warn!(queue = name, unread, "lines of a queue's journal could not be read and were skipped");
            }
            identities.push(setup.identity);
            let (path, names) = (journal::path(&folder, &region, &name), (name.clone(), arn(&region, &name)));
            let live = LiveQueue::start(names, queue, setup, path, (clock.clone(), faults.clone()))?;
            regions.entry(region).or_insert_with(BTreeMap::new).insert(name, live);
        }
        // Receipts of one queue must not fit another queue, nor a later queue of the same name.
        let fresh = (clock.now().0 as u32) & !0xFFF;
        let next_identity = identities.into_iter().map(|identity| identity.wrapping_add(1)).fold(fresh, u32::max);
        let (regions, next_identity) = (RwLock::new(regions), AtomicU32::new(next_identity));
        Ok(Arc::new(Self { regions, endpoint, folder, clock, faults, next_identity, moves: moves::Moves::default() }))
    }

    /// Answers one request.
    pub(crate) async fn serve(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        region: &str,
    ) -> Result<Response<ReplyBody>, Reset> {
        let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
        let name = target.strip_prefix("AmazonSQS.").unwrap_or_default();
        let Some((_, operation)) = OPERATIONS.iter().find(|(known, _)| *known == name) else {
            return Ok(error_reply(&SqsError::unknown_operation(name)));
        };
        let verdict = self.faults.meet(*operation, || "sqs".to_owned()).await;
        let result = match verdict {
            Verdict::Reset => return Err(Reset),
            Verdict::Deny => Err(SqsError::access_denied(operation.action, &resource(region, body))),
            Verdict::Fail(ref kind) => Err(SqsError::from_fault(kind)),
            _ => self.perform(*operation, region, body).await,
        };
        verdict.send(result.unwrap_or_else(|error| error_reply(&error)))
    }

    /// The answer to a request that is too long.
    pub(crate) fn too_long(error: &BodyError) -> Response<ReplyBody> {
        error_reply(&SqsError::malformed(&error.to_string()))
    }

    /// The answer to a request without an accepted signature.
    pub(crate) fn refuse(refusal: &Refusal) -> Response<ReplyBody> {
        error_reply(&SqsError::unsigned(refusal))
    }

    /// Delivers messages from inside the server, as SNS does. If a queue cannot hold one message, only that one is
    /// dropped.
    pub(crate) fn deliver(&self, queue_arn: &str, messages: Vec<(String, Extras)>) -> Result<(), SqsError> {
        if messages.is_empty() {
            return Ok(());
        }
        let queue = self.queue_by_arn(queue_arn).ok_or_else(SqsError::no_such_queue)?;
        let fifo = queue.state().settings.fifo;
        let content = |(body, extras): (String, Extras)| {
            let deduplication = extras.deduplication.filter(|_| fifo);
            match Content::new(&body, Extras { deduplication, ..extras }) {
                Ok(content) => Some((Arc::new(content), None)),
                Err(error) => {
                    tracing::warn!(queue = queue_arn, error = %error.message, "a notification was not delivered");
                    None
                }
            }
        };
        let contents: Vec<_> = messages.into_iter().filter_map(content).collect();
        queue.send(contents).map(drop)
    }

    /// Whether this queue exists and is a FIFO queue.
    pub(crate) fn is_fifo(&self, queue_arn: &str) -> bool {
        self.queue_by_arn(queue_arn).is_some_and(|queue| queue.is_fifo())
    }

    /// Ends all waiting, because the server stops.
    pub(crate) fn close(&self) {
        let regions = self.regions.read().unwrap_or_else(PoisonError::into_inner);
        regions.values().flat_map(BTreeMap::values).for_each(|queue| queue.stop());
    }

    async fn perform(&self, operation: Operation, region: &str, body: &[u8]) -> Reply {
        match operation.name.strip_prefix("sqs:").unwrap_or_default() {
            "SendMessage" => self.send_message(region, body),
            "SendMessageBatch" => self.send_message_batch(operation, region, body),
            "ReceiveMessage" => self.receive_message(region, body).await,
            "DeleteMessage" => self.delete_message(region, body),
            "DeleteMessageBatch" => self.delete_message_batch(operation, region, body),
            "ChangeMessageVisibility" => self.change_visibility(region, body),
            "ChangeMessageVisibilityBatch" => self.change_visibility_batch(operation, region, body),
            "CreateQueue" => self.create_queue(region, body),
            "GetQueueUrl" => self.get_queue_url(region, body),
            "ListQueues" => self.list_queues(region, body),
            "ListDeadLetterSourceQueues" => self.list_sources(region, body),
            "StartMessageMoveTask" => self.start_move(body),
            "ListMessageMoveTasks" => self.list_moves(body),
            "CancelMessageMoveTask" => self.cancel_move(body),
            "DeleteQueue" => self.delete_queue(region, body),
            "PurgeQueue" => self.purge_queue(region, body),
            "GetQueueAttributes" => self.get_attributes(region, body),
            "SetQueueAttributes" => self.set_attributes(region, body),
            "TagQueue" | "UntagQueue" => self.tag_queue(region, body),
            "ListQueueTags" => self.list_tags(region, body),
            name => Err(SqsError::unknown_operation(name)),
        }
    }

    /// Applies the faults that strike single entries of a batch.
    fn check_entry(&self, operation: Operation) -> Result<(), SqsError> {
        if self.faults.entry_meets(operation, &Effect::FailEntries) {
            return Err(SqsError::from_fault(&FaultKind::InternalError));
        }
        Ok(())
    }

    fn url(&self, name: &str) -> String {
        format!("{}/{}/{name}", self.endpoint, crate::ACCOUNT)
    }

    fn find(&self, region: &str, name: &str) -> Option<Arc<LiveQueue>> {
        let regions = self.regions.read().unwrap_or_else(PoisonError::into_inner);
        regions.get(region)?.get(name).cloned()
    }

    /// The queue of a URL. Only the path counts, because clients reach this endpoint under several host names.
    fn queue(&self, region: &str, url: &str) -> Result<Arc<LiveQueue>, SqsError> {
        if url.is_empty() {
            return Err(SqsError::missing_parameter("QueueUrl"));
        }
        let name = url.rsplit('/').next().unwrap_or_default();
        self.find(region, name).ok_or_else(SqsError::no_such_queue)
    }

    fn queue_by_arn(&self, arn: &str) -> Option<Arc<LiveQueue>> {
        let (region, rest) = arn.strip_prefix("arn:aws:sqs:")?.split_once(':')?;
        self.find(region, rest.strip_prefix(crate::ACCOUNT)?.strip_prefix(':')?)
    }
}

fn arn(region: &str, name: &str) -> String {
    format!("arn:aws:sqs:{region}:{}:{name}", crate::ACCOUNT)
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, SqsError> {
    serde_json::from_slice(body).map_err(|error| SqsError::malformed(&error.to_string()))
}

fn reply<T: Serialize>(answer: &T) -> Response<ReplyBody> {
    // Serialization fails only for maps whose keys are not strings. No answer has such a map.
    let body = serde_json::to_vec(answer).unwrap_or_default();
    respond(200, body)
}

fn respond(status: u16, body: Vec<u8>) -> Response<ReplyBody> {
    let mut response = Response::new(body.into());
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/x-amz-json-1.0"));
    let mut id = Uuid::encode_buffer();
    if let Ok(id) = header::HeaderValue::from_str(crate::unique::id().hyphenated().encode_lower(&mut id)) {
        headers.insert("x-amzn-requestid", id);
    }
    response
}

#[derive(Serialize)]
struct ErrorReply<'a> {
    #[serde(rename = "__type")]
    shape: &'a str,
    message: &'a str,
}

fn error_reply(error: &SqsError) -> Response<ReplyBody> {
    let body = serde_json::to_vec(&ErrorReply { shape: &error.shape, message: &error.message }).unwrap_or_default();
    let mut response = respond(error.status, body);
    let blame = if error.is_sender_fault() { "Sender" } else { "Receiver" };
    if let Ok(code) = header::HeaderValue::from_str(&format!("{};{blame}", error.code)) {
        response.headers_mut().insert("x-amzn-query-error", code);
    }
    response
}

/// The queue of a request, as an error names it.
fn resource(region: &str, body: &[u8]) -> String {
    let url = parse::<QueueRequest>(body).unwrap_or_default().queue_url;
    let name = url.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("*");
    format!("arn:aws:sqs:{region}:{}:{name}", crate::ACCOUNT)
}
