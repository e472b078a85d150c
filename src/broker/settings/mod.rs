//! Every setting of the broker, in one table: its name, type, bounds, default and meaning.
//!
//! A setting can be given in a file (TOML; `num.partitions = 3` or as tables), by an environment variable
//! (`TIDEGATE_NUM_PARTITIONS=3`) or by a flag (`--num-partitions 3`); flags beat the environment, which beats the file.
//! Names and defaults are Kafka's where Kafka has the setting. Unknown names are refused, with the nearest known one.

mod event_types;
mod file;
mod table;
mod value;

pub use event_types::EventTypes;
pub use file::{SettingsFileError, settings_as_file, settings_in_file};
pub use table::{SETTINGS, Settings};
pub use value::{Delivery, ExtensionEnable, StoreAddress};

/// What is known of one setting before it has a value.
#[derive(Clone, Copy, Debug)]
pub struct SettingInfo {
    /// Its dotted name, as in a file: `num.partitions`.
    pub name: &'static str,
    /// Its value if nobody gives one.
    pub default: &'static str,
    /// What it means, with its unit.
    pub help: &'static str,
}

impl SettingInfo {
    /// The flag that sets it, without dashes in front: `num-partitions`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.replace('.', "-")
    }

    /// The environment variable that sets it: `TIDEGATE_NUM_PARTITIONS`.
    #[must_use]
    pub fn environment_variable(&self) -> String {
        format!("TIDEGATE_{}", self.name.replace('.', "_").to_uppercase())
    }
}

/// Why a setting was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// There is no such setting.
    #[error("there is no setting `{name}`; did you mean `{nearest}`?")]
    Unknown {
        /// What was given.
        name: String,
        /// The known name that is closest to it.
        nearest: &'static str,
    },
    /// The value does not fit the setting.
    #[error("setting `{name}`: `{value}` is not {expected}")]
    Value {
        /// The setting.
        name: &'static str,
        /// What was given.
        value: String,
        /// What would have been right.
        expected: String,
    },
    /// The values of two settings do not go together.
    #[error("settings `{first}` and `{second}` do not go together: {remedy}")]
    Together {
        /// One of them.
        first: &'static str,
        /// The other.
        second: &'static str,
        /// What to do.
        remedy: &'static str,
    },
}

/// The known name with the fewest edits to `name`; the first in the table among equals.
pub(crate) fn nearest(name: &str) -> &'static str {
    SETTINGS
        .iter()
        .map(|setting| (edit_distance(name, setting.name), setting.name))
        .min_by_key(|(distance, _)| *distance)
        .map_or("", |(_, known)| known)
}

/// Levenshtein distance over bytes; one row at a time.
fn edit_distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.bytes().enumerate() {
            let substituted = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_refused_with_the_nearest_one() {
        let mut settings = Settings::default();
        let error = settings.set("num.partition", "3").expect_err("unknown");
        assert_eq!(error, SettingError::Unknown { name: "num.partition".into(), nearest: "num.partitions" });
    }

    #[test]
    fn every_default_in_the_table_is_a_value_that_the_setting_takes() {
        let mut settings = Settings::default();
        for setting in SETTINGS {
            settings.set(setting.name, setting.default).expect(setting.name);
            assert_eq!(settings.text(setting.name).as_deref(), Some(setting.default));
        }
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn a_value_out_of_bounds_is_refused_and_changes_nothing() {
        let mut settings = Settings::default();
        let error = settings.set("num.partitions", "0").expect_err("below 1");
        assert!(matches!(error, SettingError::Value { name: "num.partitions", .. }), "{error}");
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn flags_and_variables_are_made_from_the_name() {
        let setting = SETTINGS.iter().find(|s| s.name == "num.partitions").expect("in the table");
        assert_eq!(setting.flag(), "num-partitions");
        assert_eq!(setting.environment_variable(), "TIDEGATE_NUM_PARTITIONS");
    }

    #[test]
    fn a_store_is_embedded_or_a_namespace_of_tikv() {
        let mut settings = Settings::default();
        settings.set("store", "tikv://pd1:2379,pd2:2379/orders").expect("an address");
        assert_eq!(settings.text("store").as_deref(), Some("tikv://pd1:2379,pd2:2379/orders"));
        for bad in
            ["", "tikv", "tikv://", "tikv://pd1:2379", "tikv://pd1/", "http://pd1:2379/orders", "Embedded"]
        {
            let error = settings.set("store", bad).expect_err(bad).to_string();
            assert!(error.contains("`store`") && error.contains("tikv://"), "{error}");
        }
    }

    /// In TOML `a.b = 1` and `a.b.c = 2` cannot both be: one such pair could not be set in one file.
    #[test]
    fn no_name_is_the_beginning_of_another() {
        let is_within =
            |outer: &str, name: &str| name.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'));
        for outer in SETTINGS.iter().map(|setting| setting.name).filter(|name| *name != "store") {
            let within = SETTINGS.iter().find(|setting| is_within(outer, setting.name));
            assert_eq!(within.map(|setting| setting.name), None, "{outer}");
        }
    }

    #[test]
    fn an_address_may_be_a_name() {
        let mut settings = Settings::default();
        settings.set("listen", "localhost:9092").expect("a name of this machine");
        assert_eq!(settings.text("listen").as_deref(), Some("127.0.0.1:9092"));
        for bad in ["localhost", "9092", ":", "localhost:70000"] {
            let error = settings.set("listen", bad).expect_err(bad).to_string();
            assert!(error.contains("`listen`") && error.contains("HOST:PORT"), "{error}");
        }
        let unknown = settings.set("listen", "no such host:9092").expect_err("no name").to_string();
        assert!(unknown.contains("`no such host:9092` is not an address of this machine"), "{unknown}");
    }

    #[test]
    fn the_files_of_tls_are_given_together() {
        let names = ["tikv.tls.ca", "tikv.tls.cert", "tikv.tls.key"];
        for given in 0..8_usize {
            let mut settings = Settings::default();
            for name in names.iter().enumerate().filter(|(n, _)| given & (1 << n) != 0).map(|(_, name)| name)
            {
                settings.set(name, "file.pem").expect("a path");
            }
            assert_eq!(settings.check().is_ok(), given == 0 || given == 7, "{given}");
        }
    }

    #[test]
    fn another_address_than_loopback_needs_insecure() {
        let mut settings = Settings::default();
        settings.set("listen", "0.0.0.0:9092").expect("an address");
        assert!(settings.check().is_err());
        settings.set("insecure", "true").expect("a boolean");
        assert_eq!(settings.check(), Ok(()));
    }
}
