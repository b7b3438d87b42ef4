//! The operations on queues: create, find, list, delete, purge, attributes and tags.
//!
//! This file does *not* own the rules about attribute values; `settings` owns them.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use super::{
    Reply, Sqs, arn,
    error::SqsError,
    journal,
    live::LiveQueue,
    messages::Empty,
    parse,
    protocol::{
        AttributeNamesRequest, AttributesReply, CreateQueueRequest, GetQueueUrlRequest, ListQueuesRequest,
        ListSourcesRequest, QueueRequest, QueueUrlReply, QueueUrlsReply, SetAttributesRequest, SourceQueuesReply,
        TagRequest, TagsReply,
    },
    queue::{Queue, Setup},
    reply,
    settings::Settings,
};

/// The most queues on one page of a list.
const PAGE_MAX: usize = 1000;

impl Sqs {
    pub(super) fn create_queue(&self, region: &str, body: &[u8]) -> Reply {
        let request: CreateQueueRequest = parse(body)?;
        let name = request.queue_name;
        let mut settings = Settings::default();
        for (attribute, value) in &request.attributes {
            settings.set(attribute, value)?;
        }
        check_name(&name, settings.fifo)?;
        self.check_dead_letters(&settings)?;
        let mut regions = self.regions.write().unwrap_or_else(PoisonError::into_inner);
        let queues = regions.entry(region.to_owned()).or_default();
        if let Some(queue) = queues.get(&name) {
            check_same(&queue.state().settings, &settings, request.attributes.keys())?;
        } else {
            let identity = self.next_identity.fetch_add(1, Ordering::Relaxed);
            let created = self.clock.now();
            let setup = Setup { identity, created, attributes: settings.all(), tags: request.tags };
            let (queue, names) = (Queue::new(identity, settings), (name.clone(), arn(region, &name)));
            let path = journal::path(&self.folder, region, &name);
            let live = LiveQueue::start(names, queue, setup, path, (self.clock.clone(), self.faults.clone()));
            let live = live.map_err(|error| {
                tracing::error!(queue = name, %error, "failed to create the journal of a queue");
                SqsError::internal()
            })?;
            queues.insert(name.clone(), live);
        }
        Ok(reply(&QueueUrlReply { queue_url: self.url(&name) }))
    }

    pub(super) fn get_queue_url(&self, region: &str, body: &[u8]) -> Reply {
        let request: GetQueueUrlRequest = parse(body)?;
        let queue = self.find(region, &request.queue_name).ok_or_else(SqsError::no_such_queue)?;
        Ok(reply(&QueueUrlReply { queue_url: self.url(&queue.name) }))
    }

    pub(super) fn list_queues(&self, region: &str, body: &[u8]) -> Reply {
        let request: ListQueuesRequest = parse(body)?;
        let prefix = request.queue_name_prefix.unwrap_or_default();
        let regions = self.regions.read().unwrap_or_else(PoisonError::into_inner);
        let names = regions.get(region).into_iter().flat_map(|queues| queues.keys());
        let names = names.filter(|name| name.starts_with(&prefix));
        let (queue_urls, next_token) = self.page(names, request.max_results, request.next_token);
        Ok(reply(&QueueUrlsReply { queue_urls, next_token }))
    }

    pub(super) fn list_sources(&self, region: &str, body: &[u8]) -> Reply {
        let request: ListSourcesRequest = parse(body)?;
        let target = self.queue(region, &request.queue_url)?;
        let regions = self.regions.read().unwrap_or_else(PoisonError::into_inner);
        let queues = regions.get(region).into_iter().flat_map(|queues| queues.values());
        let names = queues.filter(|queue| queue.has_dead_letters_in(&target)).map(|queue| &queue.name);
        let (queue_urls, next_token) = self.page(names, request.max_results, request.next_token);
        Ok(reply(&SourceQueuesReply { queue_urls, next_token }))
    }

    /// The URLs of one page of `queues`, which come in order of their names, and the token of the next page.
    fn page<'a>(
        &self,
        names: impl Iterator<Item = &'a String>,
        max_results: Option<usize>,
        after: Option<String>,
    ) -> (Vec<String>, Option<String>) {
        let (page, after) = (max_results.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX), after.unwrap_or_default());
        let mut names: Vec<&String> = names.filter(|name| **name > after).take(page + 1).collect();
        let more = names.len() > page;
        names.truncate(page);
        let next_token = names.last().filter(|_| more).map(|name| (*name).clone());
        (names.into_iter().map(|name| self.url(name)).collect(), next_token)
    }

    pub(super) fn delete_queue(&self, region: &str, body: &[u8]) -> Reply {
        let request: QueueRequest = parse(body)?;
        let queue = self.queue(region, &request.queue_url)?;
        let mut regions = self.regions.write().unwrap_or_else(PoisonError::into_inner);
        // Another request may have deleted it first, and a third one may have created a new queue of that name.
        if let Some(queues) = regions.get_mut(region)
            && queues.get(&queue.name).is_some_and(|present| Arc::ptr_eq(present, &queue))
        {
            queues.remove(&queue.name);
            queue.delete();
        }
        Ok(reply(&Empty {}))
    }

    pub(super) fn purge_queue(&self, region: &str, body: &[u8]) -> Reply {
        let request: QueueRequest = parse(body)?;
        let queue = self.queue(region, &request.queue_url)?;
        if !queue.purge()? {
            return Err(SqsError::purge_in_progress(&queue.name));
        }
        Ok(reply(&Empty {}))
    }

    pub(super) fn get_attributes(&self, region: &str, body: &[u8]) -> Reply {
        let request: AttributeNamesRequest = parse(body)?;
        let queue = self.queue(region, &request.queue_url)?;
        let all = all_attributes(&queue, self.faults.staleness());
        let wanted = |name: &str| request.attribute_names.iter().any(|wanted| wanted == name || wanted == "All");
        if let Some(unknown) = request.attribute_names.iter().find(|name| !is_known(name)) {
            return Err(SqsError::invalid_attribute_name(unknown));
        }
        Ok(reply(&AttributesReply { attributes: all.into_iter().filter(|(name, _)| wanted(name)).collect() }))
    }

    pub(super) fn set_attributes(&self, region: &str, body: &[u8]) -> Reply {
        let request: SetAttributesRequest = parse(body)?;
        let queue = self.queue(region, &request.queue_url)?;
        let mut settings = Settings::clone(&queue.state().settings);
        for (attribute, value) in &request.attributes {
            if attribute == "FifoQueue" {
                return Err(SqsError::invalid_attribute_value(attribute));
            }
            settings.set(attribute, value)?;
        }
        self.check_dead_letters(&settings)?;
        queue.set_settings(settings)?;
        Ok(reply(&Empty {}))
    }

    pub(super) fn tag_queue(&self, region: &str, body: &[u8]) -> Reply {
        let request: TagRequest = parse(body)?;
        let queue = self.queue(region, &request.queue_url)?;
        let mut tags = queue.tags();
        tags.extend(request.tags);
        tags.retain(|name, _| !request.tag_keys.contains(name));
        queue.set_tags(tags)?;
        Ok(reply(&Empty {}))
    }

    pub(super) fn list_tags(&self, region: &str, body: &[u8]) -> Reply {
        let request: QueueRequest = parse(body)?;
        let queue = self.queue(region, &request.queue_url)?;
        Ok(reply(&TagsReply { tags: queue.tags() }))
    }

    fn check_dead_letters(&self, settings: &Settings) -> Result<(), SqsError> {
        let Some(redrive) = &settings.redrive else { return Ok(()) };
        let problem = match self.queue_by_arn(&redrive.target) {
            None => "Dead letter target does not exist.",
            Some(target) if target.state().settings.fifo != settings.fifo => {
                "Dead-letter queue must be same type of queue as the source."
            }
            Some(_) => return Ok(()),
        };
        let message = format!("Value {} for parameter RedrivePolicy is invalid. Reason: {problem}", redrive.target);
        Err(SqsError::invalid_parameter(message))
    }
}

fn check_name(name: &str, fifo: bool) -> Result<(), SqsError> {
    let base = if fifo { name.strip_suffix(".fifo") } else { Some(name) };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if name.len() <= 80 && base.is_some_and(|base| !base.is_empty() && base.chars().all(plain)) {
        return Ok(());
    }
    if fifo {
        return Err(SqsError::invalid_parameter(
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length.",
        ));
    }
    Err(SqsError::invalid_parameter(
        "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
    ))
}

/// A queue may be created again with the same values. Only attributes that the request names count.
fn check_same<'a>(
    present: &Settings,
    asked: &Settings,
    names: impl Iterator<Item = &'a String>,
) -> Result<(), SqsError> {
    let (present, asked) = (present.entries(), asked.entries());
    for name in names {
        let value =
            |entries: &[(&str, String)]| entries.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        if value(&present) != value(&asked) {
            return Err(SqsError::queue_exists(name));
        }
    }
    Ok(())
}

fn all_attributes(queue: &Arc<LiveQueue>, staleness: Duration) -> HashMap<String, String> {
    let now = queue.now();
    let mut state = queue.state();
    let counts = state.counts(staleness, now);
    let created = (queue.created.0 / 1000).to_string();
    let mut all: HashMap<String, String> =
        state.settings.entries().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let own = [
        ("QueueArn", queue.arn.to_string()),
        ("ApproximateNumberOfMessages", counts.visible.to_string()),
        ("ApproximateNumberOfMessagesNotVisible", counts.in_flight.to_string()),
        ("ApproximateNumberOfMessagesDelayed", counts.delayed.to_string()),
        ("CreatedTimestamp", created.clone()),
        ("LastModifiedTimestamp", created),
    ];
    all.extend(own.map(|(name, value)| (name.to_owned(), value)));
    all
}

/// Whether a request may ask for this name, even if the queue has no value for it.
fn is_known(name: &str) -> bool {
    const COUNTED: [&str; 7] = [
        "All",
        "QueueArn",
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
        "CreatedTimestamp",
        "LastModifiedTimestamp",
    ];
    COUNTED.contains(&name) || Settings::knows(name)
}
