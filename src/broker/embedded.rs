//! The embedded store as the settings want it.

use std::sync::Arc;

use tidegate_store::{Clock, EmbeddedOptions, TransactionLimits};

use crate::settings::Settings;

/// How to open the embedded store for a broker with these settings.
#[must_use]
pub fn embedded_options(settings: &Settings, clock: Arc<dyn Clock>) -> EmbeddedOptions {
    EmbeddedOptions {
        limits: TransactionLimits {
            max_ms: settings.transaction_max_ms,
            max_bytes: settings.transaction_max_bytes,
            ..TransactionLimits::default()
        },
        clock_jump_max_ms: settings.clock_jump_max_ms,
        commit_max_ms: settings.store_commit_max_ms,
        sync: settings.store_sync,
        overlay_bytes: settings.store_overlay_bytes,
        journal_flush_bytes: settings.store_journal_flush_bytes,
        journal_ahead_bytes: settings.store_journal_ahead_bytes,
        segment_bytes: settings.store_segment_bytes,
        open_segments_max: settings.store_open_segments_max,
        reserve_bytes: settings.store_reserve_bytes,
        tree_cache_bytes: settings.store_tree_cache_bytes,
        check_tree: settings.store_check_tree,
        ..EmbeddedOptions::new(clock)
    }
}
