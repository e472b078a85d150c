//! Prometheus' text format, for figures that are read when they are asked for.

use std::fmt::Write;

/// Text that metrics are added to, one family after the other.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    text: String,
}

impl Exposition {
    /// Begins a family of gauges; the samples that follow belong to it.
    pub(crate) fn gauge(&mut self, name: &str, help: &str) {
        self.family(name, help, "gauge");
    }

    /// Begins a family of counters.
    pub(crate) fn counter(&mut self, name: &str, help: &str) {
        self.family(name, help, "counter");
    }

    /// Begins a histogram: buckets, sum and count follow as samples of their names.
    pub(crate) fn histogram(&mut self, name: &str, help: &str) {
        self.family(name, help, "histogram");
    }

    fn family(&mut self, name: &str, help: &str, kind: &str) {
        writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}")
            .expect("a string takes all that is written");
    }

    /// Adds a sample.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            write!(self.text, "{label}=\"{}\"", escape(text)).expect("a string takes all that is written");
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        writeln!(self.text, " {value}").expect("a string takes all that is written");
    }

    /// The text.
    pub(crate) fn finish(self) -> String {
        self.text
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_from_outside_cannot_break_the_text() {
        let mut text = Exposition::default();
        text.gauge("lag", "How far behind");
        text.sample("lag", &[("group", "a\"b\\c\nd"), ("partition", "0")], 3.0);
        text.sample("up", &[], 1.0);
        let expected = "# HELP lag How far behind\n# TYPE lag gauge\nlag{group=\"a\\\"b\\\\c\\nd\",partition=\"0\"} 3\nup 1\n";
        assert_eq!(text.finish(), expected);
    }
}
