//! Which topics event types belong to, as one setting.

use std::collections::BTreeMap;

use tidegate_format::{check_event_type, check_topic_name};

use super::value::SettingValue;

/// The topic of each event type that the configuration names: each name is one that the catalogue takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventTypes(BTreeMap<String, String>);

impl EventTypes {
    /// Event type and topic, by event type.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(event_type, topic)| (event_type.as_str(), topic.as_str()))
    }
}

impl SettingValue for EventTypes {
    type Bounds = ();

    fn parse(text: &str, (): &()) -> Result<Self, String> {
        let mut types = BTreeMap::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let form = || format!("`TYPE=TOPIC[,TYPE=TOPIC...]` at `{entry}`");
            let (event_type, topic) = entry.split_once('=').ok_or_else(form)?;
            let (event_type, topic) = (event_type.trim(), topic.trim());
            let refused = |name: &str, error| format!("{}: the name `{name}` is refused: {error}", form());
            check_event_type(event_type).map_err(|error| refused(event_type, error))?;
            check_topic_name(topic).map_err(|error| refused(topic, error))?;
            if types.insert(event_type.to_owned(), topic.to_owned()).is_some() {
                return Err(format!("one topic for each type: `{event_type}` comes twice"));
            }
        }
        Ok(Self(types))
    }

    fn text(&self) -> String {
        let entries: Vec<String> =
            self.iter().map(|(event_type, topic)| format!("{event_type}={topic}")).collect();
        entries.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_one_topic() {
        let types = EventTypes::parse(" order.placed = orders ,order.paid=payments,", &()).expect("two");
        let listed: Vec<_> = types.iter().collect();
        assert_eq!(listed, [("order.paid", "payments"), ("order.placed", "orders")]);
        assert_eq!(types.text(), "order.paid=payments,order.placed=orders");
        assert_eq!(EventTypes::parse(&types.text(), &()), Ok(types));
        assert_eq!(EventTypes::parse("", &()), Ok(EventTypes::default()));
    }

    #[test]
    fn what_is_no_list_of_types_is_refused_with_the_entry() {
        for (bad, named) in [
            ("orders", "orders"),
            ("a=b,c", "`c`"),
            ("=orders", "refused"),
            ("a=", "refused"),
            ("a b=orders", "a b"),
            ("a=or/ders", "or/ders"),
            ("a=b=c", "b=c"),
            ("a=b,a=c", "twice"),
        ] {
            let error = EventTypes::parse(bad, &()).expect_err(bad);
            assert!(error.contains(named), "{bad}: {error}");
        }
    }
}
