//! Which topics a consumer's subscription names.
//!
//! Reads the part of `ConsumerProtocolSubscription` that every version begins with (Kafka's coordinator does the same
//! and so need not know later versions): version, topics, user data. What follows is left alone.
//!
//! Always holds: no length is believed before it is compared with what is there.

/// Why bytes are no subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscriptionError {
    /// They end before their lengths say.
    #[error("subscription is cut short")]
    Short,
    /// A version or length below zero where there is none.
    #[error("subscription has a negative {what}")]
    Negative {
        /// Which number.
        what: &'static str,
    },
    /// A topic's name is not UTF-8.
    #[error("subscription names a topic that is not UTF-8")]
    NotUtf8,
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], SubscriptionError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(SubscriptionError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn i16(&mut self) -> Result<i16, SubscriptionError> {
        self.0.split_first_chunk().map(|(bytes, rest)| (i16::from_be_bytes(*bytes), rest)).map_or(
            Err(SubscriptionError::Short),
            |(number, rest)| {
                self.0 = rest;
                Ok(number)
            },
        )
    }

    fn i32(&mut self) -> Result<i32, SubscriptionError> {
        self.0.split_first_chunk().map(|(bytes, rest)| (i32::from_be_bytes(*bytes), rest)).map_or(
            Err(SubscriptionError::Short),
            |(number, rest)| {
                self.0 = rest;
                Ok(number)
            },
        )
    }
}

/// The topics of a subscription, in its order.
///
/// # Errors
/// The bytes are no subscription.
pub fn subscribed_topics(metadata: &[u8]) -> Result<Vec<&str>, SubscriptionError> {
    let mut reader = Reader(metadata);
    if reader.i16()? < 0 {
        return Err(SubscriptionError::Negative { what: "version" });
    }
    let count = usize::try_from(reader.i32()?)
        .map_err(|_| SubscriptionError::Negative { what: "number of topics" })?;
    let least_bytes_each = size_of::<i16>();
    let mut topics = Vec::with_capacity(count.min(reader.0.len() / least_bytes_each));
    for _ in 0..count {
        let length = usize::try_from(reader.i16()?)
            .map_err(|_| SubscriptionError::Negative { what: "length of a topic" })?;
        topics.push(std::str::from_utf8(reader.take(length)?).map_err(|_| SubscriptionError::NotUtf8)?);
    }
    // User data may be null (a length of -1).
    let user_data = usize::try_from(reader.i32()?.max(0)).expect("not negative");
    reader.take(user_data)?;
    Ok(topics)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(version: i16, topics: &[String], user_data: Option<&[u8]>, rest: &[u8]) -> Vec<u8> {
        let mut bytes = version.to_be_bytes().to_vec();
        bytes.extend(i32::try_from(topics.len()).expect("few topics").to_be_bytes());
        for topic in topics {
            bytes.extend(i16::try_from(topic.len()).expect("short name").to_be_bytes());
            bytes.extend(topic.as_bytes());
        }
        match user_data {
            None => bytes.extend((-1_i32).to_be_bytes()),
            Some(data) => {
                bytes.extend(i32::try_from(data.len()).expect("little data").to_be_bytes());
                bytes.extend(data);
            }
        }
        bytes.extend(rest);
        bytes
    }

    proptest! {
        #[test]
        fn every_version_names_its_topics(
            version in 0_i16..10,
            topics in proptest::collection::vec("[a-z.]{0,12}", 0..5),
            user_data in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9)),
            rest in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let bytes = encode(version, &topics, user_data.as_deref(), &rest);
            prop_assert_eq!(subscribed_topics(&bytes).expect("a subscription"), topics);
        }

        #[test]
        fn a_subscription_that_is_cut_short_is_refused(
            topics in proptest::collection::vec("[a-z]{1,6}", 0..4),
            cut in 1_usize..40,
        ) {
            let bytes = encode(3, &topics, Some(b"user"), &[]);
            let end = bytes.len().saturating_sub(cut);
            prop_assert_eq!(subscribed_topics(&bytes[..end]), Err(SubscriptionError::Short));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = subscribed_topics(&bytes);
        }
    }

    #[test]
    fn an_absurd_count_is_refused_before_anything_is_allocated_for_it() {
        let mut bytes = 0_i16.to_be_bytes().to_vec();
        bytes.extend(i32::MAX.to_be_bytes());
        assert_eq!(subscribed_topics(&bytes), Err(SubscriptionError::Short));
        bytes[2..6].copy_from_slice(&(-1_i32).to_be_bytes());
        assert_eq!(subscribed_topics(&bytes), Err(SubscriptionError::Negative { what: "number of topics" }));
    }

    #[test]
    fn a_topic_that_is_not_utf8_is_refused() {
        let mut bytes = encode(0, &["ab".to_owned()], None, &[]);
        bytes[8] = 0xFF;
        assert_eq!(subscribed_topics(&bytes), Err(SubscriptionError::NotUtf8));
    }
}
