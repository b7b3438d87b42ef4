//! Tasks that move messages out of a dead-letter queue: start, list, cancel.
//!
//! A moved message becomes a new one. A task moves as many messages as were visible when it started. It lives in
//! memory: a restart ends it, and the messages that it has moved stay moved. This file does *not* own how a queue takes
//! messages out or in.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    Reply, Sqs,
    error::SqsError,
    live::LiveQueue,
    messages::in_range,
    parse,
    protocol::{
        CancelMoveRequest, CancelledReply, ListMovesRequest, MoveReply, MovesReply, StartMoveRequest, StartedReply,
    },
    reply,
};
use crate::clock::Millis;

/// The number of messages that are moved at once.
const STEP: usize = 10;

/// The most messages that a task moves per second. It is also the default rate.
const RATE_MAX: i64 = 500;

/// At most this many tasks of a queue are remembered and listed.
const LISTED_MAX: i64 = 10;

/// The tasks since the server started, oldest first.
pub(super) type Moves = Mutex<Vec<Arc<Move>>>;

/// One task.
#[derive(Debug)]
pub(super) struct Move {
    handle: String,
    source: Arc<LiveQueue>,
    /// The queue that gets all messages. Without it, each message goes back to its source queue.
    destination: Option<Arc<LiveQueue>>,
    rate: Option<u64>,
    started: Millis,
    /// The number of messages that were visible at the start.
    planned: usize,
    progress: Mutex<Progress>,
}

#[derive(Debug, Clone, Copy)]
struct Progress {
    status: Status,
    moved: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Running,
    Cancelling,
    Cancelled,
    Completed,
    Failed(&'static str),
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Cancelling => "CANCELLING",
            Self::Cancelled => "CANCELLED",
            Self::Completed => "COMPLETED",
            Self::Failed(_) => "FAILED",
        }
    }

    fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Cancelling)
    }
}

impl Sqs {
    pub(super) fn start_move(&self, body: &[u8]) -> Reply {
        let request: StartMoveRequest = parse(body)?;
        let source = self.named("SourceArn", &request.source_arn)?;
        let queues = self.neighbours(&source);
        if !queues.values().any(|queue| queue.has_dead_letters_in(&source)) {
            return Err(SqsError::invalid_parameter("Source queue must be configured as a Dead Letter Queue."));
        }
        let destination = request.destination_arn.map(|arn| self.named("DestinationArn", &arn)).transpose()?;
        if destination.as_ref().is_some_and(|target| target.is_fifo() != source.is_fifo()) {
            return Err(SqsError::invalid_parameter("Source and destination must be queues of the same type."));
        }
        let rate = request.max_number_of_messages_per_second;
        let rate = rate.map(|rate| in_range("MaxNumberOfMessagesPerSecond", rate, 1, RATE_MAX)).transpose()?;
        let task = Arc::new(Move {
            handle: crate::unique::id().to_string(),
            destination,
            rate,
            started: self.clock.now(),
            planned: source.visible(),
            progress: Mutex::new(Progress { status: Status::Running, moved: 0 }),
            source,
        });
        let mut moves = self.moves.lock().unwrap_or_else(PoisonError::into_inner);
        moves.retain(|other| other.source.is_open());
        let of_source = |other: &Move| Arc::ptr_eq(&other.source, &task.source);
        if moves.iter().any(|other| of_source(other) && other.progress().status.is_active()) {
            return Err(SqsError::unsupported(
                "There is already a task running. Only one active task is allowed for a source queue arn at a given time.",
            ));
        }
        if moves.iter().filter(|other| of_source(other)).count() >= LISTED_MAX as usize
            && let Some(oldest) = moves.iter().position(|other| of_source(other))
        {
            moves.remove(oldest);
        }
        moves.push(task.clone());
        tokio::spawn(task.clone().run(queues));
        Ok(reply(&StartedReply { task_handle: &task.handle }))
    }

    pub(super) fn list_moves(&self, body: &[u8]) -> Reply {
        let request: ListMovesRequest = parse(body)?;
        let source = self.named("SourceArn", &request.source_arn)?;
        let max = in_range("MaxResults", request.max_results.unwrap_or(1), 1, LISTED_MAX)?;
        let moves = self.moves.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = moves.iter().rev().filter(|task| Arc::ptr_eq(&task.source, &source)).take(max as usize);
        Ok(reply(&MovesReply { results: latest.map(|task| task.told()).collect() }))
    }

    pub(super) fn cancel_move(&self, body: &[u8]) -> Reply {
        let request: CancelMoveRequest = parse(body)?;
        if request.task_handle.is_empty() {
            return Err(SqsError::missing_parameter("TaskHandle"));
        }
        let moves = self.moves.lock().unwrap_or_else(PoisonError::into_inner);
        let task = moves.iter().find(|task| task.handle == request.task_handle);
        let mut progress = task.ok_or_else(|| SqsError::no_such_resource("Task does not exist."))?.progress();
        if progress.status != Status::Running {
            return Err(SqsError::unsupported("Only a task that is running can be cancelled."));
        }
        progress.status = Status::Cancelling;
        Ok(reply(&CancelledReply { approximate_number_of_messages_moved: progress.moved }))
    }

    /// The queue that a parameter names.
    fn named(&self, parameter: &str, arn: &str) -> Result<Arc<LiveQueue>, SqsError> {
        if arn.is_empty() {
            return Err(SqsError::missing_parameter(parameter));
        }
        let missing = || {
            let message = format!("The resource that you specified for the {parameter} parameter doesn't exist.");
            SqsError::no_such_resource(message)
        };
        self.queue_by_arn(arn).ok_or_else(missing)
    }

    /// All queues of the same region as `queue`, by ARN.
    fn neighbours(&self, queue: &LiveQueue) -> HashMap<Arc<str>, Arc<LiveQueue>> {
        let regions = self.regions.read().unwrap_or_else(PoisonError::into_inner);
        let region = queue.arn.split(':').nth(3).and_then(|region| regions.get(region));
        region.into_iter().flat_map(|queues| queues.values()).map(|queue| (queue.arn.clone(), queue.clone())).collect()
    }
}

impl Move {
    async fn run(self: Arc<Self>, queues: HashMap<Arc<str>, Arc<LiveQueue>>) {
        let pause = Duration::from_secs(1) / self.rate.unwrap_or(RATE_MAX as u64) as u32;
        while let Some(step) = self.next_step() {
            let (moved, failure) = self.step(step, &queues);
            self.note(moved, failure);
            tokio::time::sleep(pause * moved as u32).await;
        }
    }

    fn note(&self, moved: usize, failure: Option<&'static str>) {
        let mut progress = self.progress();
        progress.moved += moved;
        match failure {
            Some(reason) => progress.status = Status::Failed(reason),
            // No visible message is left.
            None if moved == 0 => progress.status = Status::Completed,
            None => {}
        }
    }

    /// How many messages to move next. At the end it notes the final status and returns `None`.
    fn next_step(&self) -> Option<usize> {
        let mut progress = self.progress();
        match progress.status {
            Status::Running if progress.moved < self.planned => Some(STEP.min(self.planned - progress.moved)),
            Status::Running => {
                progress.status = Status::Completed;
                None
            }
            Status::Cancelling => {
                progress.status = Status::Cancelled;
                None
            }
            Status::Cancelled | Status::Completed | Status::Failed(_) => None,
        }
    }

    /// Moves at most `max` messages. Returns how many were moved, and why the next one was not.
    fn step(&self, max: usize, queues: &HashMap<Arc<str>, Arc<LiveQueue>>) -> (usize, Option<&'static str>) {
        let (mut done, mut failure) = (0, None);
        let target = |source: Option<&Arc<str>>| match &self.destination {
            Some(destination) => Ok(destination),
            None => queues.get(source.ok_or("CouldNotDetermineMessageSource")?).ok_or("SourceQueueDoesNotExist"),
        };
        let moved = self.source.redrive(max, |moved| match target(moved.source.as_ref()) {
            Ok(target) if target.take_redriven(moved) => {
                done += 1;
                true
            }
            Ok(_) => {
                failure = Some("DestinationQueueDoesNotExist");
                false
            }
            Err(reason) => {
                failure = Some(reason);
                false
            }
        });
        (done, failure.or(moved.err().map(|_| "InternalError")))
    }

    fn told(&self) -> MoveReply<'_> {
        let progress = *self.progress();
        MoveReply {
            task_handle: (progress.status == Status::Running).then_some(&self.handle),
            status: progress.status.name(),
            source_arn: &self.source.arn,
            destination_arn: self.destination.as_ref().map(|queue| &*queue.arn),
            max_number_of_messages_per_second: self.rate,
            approximate_number_of_messages_moved: progress.moved,
            approximate_number_of_messages_to_move: self.planned,
            failure_reason: match progress.status {
                Status::Failed(reason) => Some(reason),
                _ => None,
            },
            started_timestamp: self.started,
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
