//! Settings from a TOML file, and as one.

use std::path::{Path, PathBuf};

use toml::Value;

use super::{SETTINGS, Settings};

/// What a setting is called in a file beside the one that it is called everywhere: in TOML, `store` cannot be text and have
/// `tikv.tls.ca` in it.
const ALSO_CALLED: (&str, &str) = ("store.url", "store");
/// A file of this size is no settings file.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// Why a settings file was refused.
#[derive(Debug, thiserror::Error)]
pub enum SettingsFileError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not TOML.
    #[error("{} is not valid TOML: {source}", path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where, and what is wrong there.
        source: Box<toml::de::Error>,
    },
    /// A setting has a list, a date or nothing useful as its value.
    #[error("{}: setting `{name}` must be a string, a number or a boolean", path.display())]
    Kind {
        /// Which file.
        path: PathBuf,
        /// Which setting.
        name: String,
    },
}

/// The settings of a file as (dotted name, text), in the order of their names. Tables are flattened: `[num] partitions`
/// is `num.partitions`.
///
/// # Errors
/// If the file cannot be read, is not TOML or gives something else than plain values.
pub fn settings_in_file(path: &Path) -> Result<Vec<(String, String)>, SettingsFileError> {
    let read = |source| SettingsFileError::Read { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(read)?.len() > FILE_MAX_BYTES {
        return Err(read(std::io::Error::other(format!("it is larger than {FILE_MAX_BYTES} bytes"))));
    }
    let text = std::fs::read_to_string(path).map_err(read)?;
    let table: toml::Table = text
        .parse()
        .map_err(|source| SettingsFileError::Syntax { path: path.to_owned(), source: Box::new(source) })?;
    let mut settings = Vec::new();
    flatten("", &Value::Table(table), &mut settings)
        .map_err(|name| SettingsFileError::Kind { path: path.to_owned(), name })?;
    Ok(settings)
}

fn flatten(name: &str, value: &Value, into: &mut Vec<(String, String)>) -> Result<(), String> {
    let text = match value {
        Value::Table(table) => {
            for (key, inner) in table {
                let dotted = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(&dotted, inner, into)?;
            }
            return Ok(());
        }
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(flag) => flag.to_string(),
        Value::Float(_) | Value::Array(_) | Value::Datetime(_) => return Err(name.to_owned()),
    };
    let (also, called) = ALSO_CALLED;
    into.push((if name == also { called } else { name }.to_owned(), text));
    Ok(())
}

/// All settings as a file that gives each its value, with their meanings.
#[must_use]
pub fn settings_as_file(settings: &Settings) -> String {
    let (also, called) = ALSO_CALLED;
    let line = |setting: &super::SettingInfo| {
        let text = settings.text(setting.name).expect("it is in the table");
        let is_plain = matches!(text.as_str(), "true" | "false") || text.parse::<i64>().is_ok();
        let value = if is_plain { text } else { Value::String(text).to_string() };
        let name = if setting.name == called { also } else { setting.name };
        format!("# {}\n{name} = {value}\n", setting.help)
    };
    SETTINGS.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }

    #[test]
    fn dotted_names_and_tables_are_the_same() {
        let file =
            file("listen = \"127.0.0.1:1\"\nnum.partitions = 3\n[auto.create.topics]\nenable = false\n");
        let settings = settings_in_file(file.path()).expect("valid");
        let expected =
            [("auto.create.topics.enable", "false"), ("listen", "127.0.0.1:1"), ("num.partitions", "3")];
        assert_eq!(settings, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }

    #[test]
    fn the_store_has_another_name_beside_settings_of_the_store() {
        let file = file("[store]\nurl = \"embedded\"\nreserve.bytes = 4\n");
        let settings = settings_in_file(file.path()).expect("valid");
        let expected = [("store.reserve.bytes", "4"), ("store", "embedded")];
        assert_eq!(settings, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }

    #[test]
    fn settings_that_were_written_as_a_file_are_those_that_it_gives() {
        let mut settings = Settings::default();
        for (name, text) in [
            ("store", "tikv://pd1:2379/orders"),
            ("data.dir", "a \"quoted\" \\ path\n"),
            ("log.retention.ms", "-1"),
            ("insecure", "true"),
            ("event.types", "order.paid=payments"),
        ] {
            settings.set(name, text).expect(name);
        }
        let file = file(&settings_as_file(&settings));
        let given = settings_in_file(file.path()).expect("valid");
        assert_eq!(given.len(), SETTINGS.len());
        let mut read = Settings::default();
        for (name, text) in given {
            read.set(&name, &text).expect("a value");
        }
        assert_eq!(read, settings);
    }

    #[test]
    fn a_file_that_is_not_toml_says_where() {
        let file = file("num.partitions = 3\nlisten\n");
        let error = settings_in_file(file.path()).expect_err("not TOML").to_string();
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn a_list_is_refused_by_name() {
        let file = file("num.partitions = [1]");
        let error = settings_in_file(file.path()).expect_err("a list").to_string();
        assert!(error.contains("num.partitions"), "{error}");
    }
}
