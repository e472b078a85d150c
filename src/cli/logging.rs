//! Logs go to standard error, as text or JSON.

use anyhow::Context;
use tidegate_broker::settings::Settings;
use tracing_subscriber::EnvFilter;

/// Starts logging as the settings say.
pub(crate) fn start(settings: &Settings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.log_filter)
        .with_context(|| format!("setting `log.filter`: `{}`", settings.log_filter))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log_format.as_str() {
        "text" => logs.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        "json" => logs.json().init(),
        other => anyhow::bail!("setting `log.format`: `{other}` is neither `text` nor `json`"),
    }
    Ok(())
}
