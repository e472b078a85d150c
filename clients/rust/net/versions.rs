//! Which version of each request a broker and this client both speak.

use std::collections::BTreeMap;

use tidegate_protocol::messages::{ApiKey, ApiVersionsResponse};
use tidegate_protocol::{Message, Request};

/// The versions that one broker speaks, by the API's number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions(BTreeMap<i16, (i16, i16)>);

impl Versions {
    pub(crate) const fn none() -> Self {
        Self(BTreeMap::new())
    }

    pub(crate) fn from_response(response: &ApiVersionsResponse) -> Self {
        Self(response.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect())
    }

    /// The oldest and newest version of this API that the broker speaks; `None` if it has no such API.
    #[must_use]
    pub fn of(&self, api: ApiKey) -> Option<(i16, i16)> {
        self.0.get(&(api as i16)).copied()
    }

    /// Every API's number with its oldest and newest version.
    pub fn iter(&self) -> impl Iterator<Item = (i16, i16, i16)> + '_ {
        self.0.iter().map(|(key, (min, max))| (*key, *min, *max))
    }

    /// The newest version of this request that both sides speak.
    #[must_use]
    pub fn pick<R: Request>(&self) -> Option<i16> {
        let (min, max) = *self.0.get(&R::KEY)?;
        let ours = R::VERSIONS.intersect(&<R::Response as Message>::VERSIONS);
        let newest = max.min(ours.max);
        (newest >= min.max(ours.min)).then_some(newest)
    }
}

#[cfg(test)]
mod tests {
    use tidegate_protocol::messages::api_versions_response::ApiVersion;
    use tidegate_protocol::messages::{FetchRequest, InitProducerIdRequest, MetadataRequest, ProduceRequest};

    use super::*;

    fn versions(ranges: &[(ApiKey, i16, i16)]) -> Versions {
        let keys = ranges.iter().map(|(key, min, max)| {
            ApiVersion::default().with_api_key(*key as i16).with_min_version(*min).with_max_version(*max)
        });
        Versions::from_response(&ApiVersionsResponse::default().with_api_keys(keys.collect()))
    }

    #[test]
    fn the_newest_version_that_both_speak_is_chosen() {
        let broker =
            versions(&[(ApiKey::Metadata, 0, 9), (ApiKey::Fetch, 4, 99), (ApiKey::InitProducerId, 0, 99)]);
        assert_eq!(broker.pick::<MetadataRequest>(), Some(9));
        assert_eq!(broker.pick::<FetchRequest>(), Some(18));
        // Request and response differ in what is known of them: both must be.
        assert_eq!(broker.pick::<InitProducerIdRequest>(), Some(5));
        assert_eq!(broker.pick::<ProduceRequest>(), None, "the broker has no such API");
        assert_eq!(broker.of(ApiKey::Fetch), Some((4, 99)));
    }

    #[test]
    fn ranges_that_do_not_meet_have_no_version() {
        assert_eq!(versions(&[(ApiKey::Fetch, 0, 3)]).pick::<FetchRequest>(), None);
        assert_eq!(versions(&[(ApiKey::Fetch, 99, 100)]).pick::<FetchRequest>(), None);
    }
}
