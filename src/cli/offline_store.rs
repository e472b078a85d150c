//! Stores that a command opens by itself, without a broker: how they are named and opened.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};
use tidegate_broker::BrokerStore;
use tidegate_broker::settings::StoreAddress;
use tidegate_store::{EmbeddedStore, Version};

use crate::settings_flags::{DATA_DIR, STORE, store_arguments, store_settings};
use crate::{open_files, store};

/// `--data-dir` and `--store` with their own help, and the flags of the store's other settings.
pub(crate) fn arguments(directory: &'static str, address: &'static str) -> impl Iterator<Item = Arg> {
    store_arguments().into_iter().map(move |argument| match argument.get_id().as_str() {
        DATA_DIR => argument.value_name("DIRECTORY").help(directory).help_heading(None),
        STORE => argument.value_name("ADDRESS").help(address).help_heading(None).hide_short_help(false),
        _ => argument,
    })
}

/// Whether a store was named on the command line. A variable that is meant for `serve` names none.
pub(crate) fn is_given(arguments: &ArgMatches) -> bool {
    [DATA_DIR, STORE].iter().any(|name| arguments.value_source(name) == Some(ValueSource::CommandLine))
}

/// Opens the store that is there.
pub(crate) async fn open_existing(arguments: &ArgMatches) -> anyhow::Result<BrokerStore> {
    let settings = store_settings(arguments)?;
    let is_missing = settings.store == StoreAddress::Embedded && !EmbeddedStore::is_in(&settings.data_dir);
    anyhow::ensure!(!is_missing, "there is no store in {}", settings.place());
    open_files::raise_limit();
    store::open(&settings).await
}

/// Opens a store that may not be there yet, whose versions come after those that are taken up.
pub(crate) async fn open_new(arguments: &ArgMatches, versions_after: Version) -> anyhow::Result<BrokerStore> {
    open_files::raise_limit();
    store::open_after(&store_settings(arguments)?, versions_after).await
}
