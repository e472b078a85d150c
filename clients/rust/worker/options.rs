//! What a worker is told.

use std::time::Duration;

use tidegate_format::check_group_id;

use super::dead_letter::dead_letter_topic;
use super::error::WorkerError;
use super::partition::Limits;
use super::retry::RetryPolicy;
use crate::{Assignor, ConsumerOptions, OffsetSpec, TopicPartition};

/// The settings of a worker, checked when it starts.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) group: String,
    /// What it reads as a member of the group.
    pub(super) topics: Vec<String>,
    /// What it reads without being a member.
    pub(super) partitions: Vec<TopicPartition>,
    pub(super) begin: OffsetSpec,
    pub(super) concurrency: usize,
    pub(super) batch_max: usize,
    pub(super) buffer_bytes: usize,
    pub(super) policy: RetryPolicy,
    pub(super) limits: Limits,
    pub(super) handler_timeout: Duration,
    /// Whether handlers run where they may block.
    pub(super) may_block: bool,
    pub(super) revoke_grace: Duration,
    pub(super) stop_grace: Duration,
    pub(super) consumer: ConsumerOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            group: String::new(),
            topics: Vec::new(),
            partitions: Vec::new(),
            begin: OffsetSpec::Earliest,
            concurrency: 16,
            batch_max: 100,
            buffer_bytes: 16 << 20,
            policy: RetryPolicy::default(),
            limits: Limits {
                parked_max: 10_000,
                ahead_max: 100_000,
                advance_max: 1_000,
                advance_linger_ms: 100,
                park_max: 100,
                // Below what any store takes as one row, so that what is too large is alone.
                park_max_bytes: 4 << 20,
            },
            handler_timeout: Duration::from_secs(30),
            may_block: false,
            revoke_grace: Duration::from_secs(10),
            stop_grace: Duration::from_secs(30),
            consumer: ConsumerOptions {
                assignors: vec![Assignor::CooperativeSticky],
                prefetch_bytes: 16 << 20,
                ..ConsumerOptions::default()
            },
        }
    }
}

impl Options {
    /// The topics that it reads.
    fn all_topics(&self) -> impl Iterator<Item = &str> {
        let fixed = self.partitions.iter().map(|at| at.topic.as_str());
        self.topics.iter().map(String::as_str).chain(fixed)
    }

    /// Whether the settings go together.
    pub(super) fn check(&self) -> Result<(), WorkerError> {
        let invalid = |text: String| Err(WorkerError::Invalid(text));
        if let Err(error) = check_group_id(&self.group) {
            return invalid(format!("a worker needs the id of its group: {error}"));
        }
        match (self.topics.is_empty(), self.partitions.is_empty()) {
            (true, true) => return invalid("a worker needs topics, or partitions, to read".to_owned()),
            (false, false) => {
                return invalid(
                    "a worker reads either topics, as a member of its group, or partitions that it is told"
                        .to_owned(),
                );
            }
            _ => {}
        }
        for topic in self.all_topics() {
            if let Err(error) = dead_letter_topic(topic, &self.group) {
                return invalid(format!(
                    "the dead letters of {topic:?} have no topic: `{topic}.{}.dlq`: {error}; choose another group id",
                    self.group
                ));
            }
        }
        for (name, value) in [
            ("concurrency", self.concurrency),
            ("batch_max", self.batch_max),
            ("parked_max", self.limits.parked_max),
        ] {
            if value == 0 {
                return invalid(format!("{name} is 0: nothing would be handled"));
            }
        }
        Ok(())
    }

    /// The settings of the consumer under it.
    pub(super) fn consumer_options(&self) -> ConsumerOptions {
        ConsumerOptions {
            group: (!self.topics.is_empty()).then(|| self.group.clone()),
            auto_offset_reset: crate::AutoOffsetReset::Earliest,
            auto_commit: false,
            ..self.consumer.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options { group: "billing".into(), topics: vec!["orders".into()], ..Options::default() }
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_reason() {
        assert!(options().check().is_ok());
        let refused = |options: Options| options.check().expect_err("it cannot be").to_string();
        let partition = || vec![TopicPartition::new("orders", 0)];
        assert!(refused(Options { group: String::new(), ..options() }).contains("id of its group"));
        assert!(refused(Options { topics: vec![], ..options() }).contains("needs topics"));
        assert!(refused(Options { partitions: partition(), ..options() }).contains("either"));
        assert!(refused(Options { group: "a b".into(), ..options() }).contains("choose another group id"));
        assert!(refused(Options { concurrency: 0, ..options() }).contains("concurrency"));
        let fixed = Options { topics: vec![], partitions: partition(), ..options() };
        assert!(fixed.check().is_ok());
        assert_eq!(fixed.consumer_options().group, None, "it is no member");
        assert_eq!(options().consumer_options().group.as_deref(), Some("billing"));
    }
}
