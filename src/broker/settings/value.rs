//! How the text of a setting becomes its value.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use tidegate_store::{SyncPolicy, TikvAddress};

/// A type that a setting can have. `Err` says what would have been right.
pub(super) trait SettingValue: Sized {
    /// What bounds it, if anything.
    type Bounds;

    fn parse(text: &str, bounds: &Self::Bounds) -> Result<Self, String>;

    /// As [`parse`](Self::parse) reads it.
    fn text(&self) -> String;
}

macro_rules! number {
    ($($number:ty),*) => {$(
        impl SettingValue for $number {
            type Bounds = RangeInclusive<$number>;

            fn parse(text: &str, bounds: &Self::Bounds) -> Result<Self, String> {
                let expected = || format!("a whole number from {} to {}", bounds.start(), bounds.end());
                let number = text.parse().map_err(|_| expected())?;
                if bounds.contains(&number) { Ok(number) } else { Err(expected()) }
            }

            fn text(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

number!(i32, i64, u32, u64, usize);

impl SettingValue for bool {
    type Bounds = ();

    fn parse(text: &str, (): &()) -> Result<Self, String> {
        text.parse().map_err(|_| "`true` or `false`".to_owned())
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl SettingValue for SocketAddr {
    type Bounds = ();

    /// A name that has addresses of both kinds means that of IPv4, as most clients take it.
    fn parse(text: &str, (): &()) -> Result<Self, String> {
        let expected = || "HOST:PORT, like 127.0.0.1:9092, [::1]:9092 or localhost:9092".to_owned();
        if let Ok(address) = text.parse() {
            return Ok(address);
        }
        let unknown = |error: io::Error| match error.kind() {
            io::ErrorKind::InvalidInput => expected(),
            _ => format!("an address of this machine: {error}"),
        };
        let addresses: Vec<Self> = text.to_socket_addrs().map_err(unknown)?.collect();
        let chosen = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
        chosen.copied().ok_or_else(expected)
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl SettingValue for PathBuf {
    type Bounds = ();

    fn parse(text: &str, (): &()) -> Result<Self, String> {
        if text.is_empty() { Err("a path".to_owned()) } else { Ok(Self::from(text)) }
    }

    fn text(&self) -> String {
        self.display().to_string()
    }
}

impl SettingValue for Option<PathBuf> {
    type Bounds = ();

    fn parse(text: &str, (): &()) -> Result<Self, String> {
        Ok((!text.is_empty()).then(|| PathBuf::from(text)))
    }

    fn text(&self) -> String {
        self.as_ref().map_or_else(String::new, |path| path.display().to_string())
    }
}

impl SettingValue for String {
    type Bounds = ();

    fn parse(text: &str, (): &()) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn text(&self) -> String {
        self.clone()
    }
}

/// Where everything is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAddress {
    /// In `data.dir` of this machine.
    Embedded,
    /// In a namespace of a TiKV cluster.
    Tikv(TikvAddress),
}

impl SettingValue for StoreAddress {
    type Bounds = ();

    fn parse(text: &str, (): &()) -> Result<Self, String> {
        if text == "embedded" {
            return Ok(Self::Embedded);
        }
        let address = text.parse().map(Self::Tikv);
        address.map_err(|error| format!("`embedded` or `tikv://PD:PORT[,PD:PORT...]/NAMESPACE`: {error}"))
    }

    fn text(&self) -> String {
        match self {
            Self::Embedded => "embedded".to_owned(),
            Self::Tikv(address) => address.to_string(),
        }
    }
}

/// What a topic does with records whose timestamp lies in the future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// They enter the log at once, as in Kafka.
    Immediate,
    /// They are held until their timestamp.
    Scheduled,
}

impl Delivery {
    /// As it is written in a configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Immediate => "immediate",
            Self::Scheduled => "scheduled",
        }
    }

    /// The reverse of [`as_str`](Self::as_str).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Immediate, Self::Scheduled].into_iter().find(|delivery| delivery.as_str() == name)
    }
}

impl SettingValue for Delivery {
    type Bounds = ();

    fn parse(text: &str, (): &()) -> Result<Self, String> {
        Self::from_name(text).ok_or_else(|| "`immediate` or `scheduled`".to_owned())
    }

    fn text(&self) -> String {
        self.as_str().to_owned()
    }
}

/// On which listeners applications can use the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtensionEnable {
    /// On those that only this machine can reach.
    Loopback,
    /// On all.
    Always,
    /// On none.
    Never,
}

impl ExtensionEnable {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Always => "always",
            Self::Never => "never",
        }
    }

    /// Whether a listener at this address has it.
    #[must_use]
    pub fn is_on_at(self, address: IpAddr) -> bool {
        match self {
            Self::Loopback => address.is_loopback(),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

impl SettingValue for ExtensionEnable {
    type Bounds = ();

    fn parse(text: &str, (): &()) -> Result<Self, String> {
        let known = [Self::Loopback, Self::Always, Self::Never];
        let found = known.into_iter().find(|known| known.as_str() == text);
        found.ok_or_else(|| "`loopback`, `always` or `never`".to_owned())
    }

    fn text(&self) -> String {
        self.as_str().to_owned()
    }
}

impl SettingValue for SyncPolicy {
    type Bounds = ();

    fn parse(text: &str, (): &()) -> Result<Self, String> {
        let interval = || text.strip_prefix("interval:")?.parse().ok().filter(|ms| (1..=60_000).contains(ms));
        match text {
            "always" => Ok(Self::Always),
            _ => interval()
                .map(Self::Interval)
                .ok_or_else(|| "`always` or `interval:<milliseconds from 1 to 60000>`".to_owned()),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Always => "always".to_owned(),
            Self::Interval(ms) => format!("interval:{ms}"),
        }
    }
}
