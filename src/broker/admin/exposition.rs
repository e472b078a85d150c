//! Prometheus' text format, for figures that are read when they are asked for.

use std::fmt::Write;

use crate::metrics::names::Family;

/// Text that metrics are added to, one family after the other.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    text: String,
    /// The name of the family that was begun last.
    family: &'static str,
}

impl Exposition {
    /// Begins a family; the samples that follow belong to it.
    pub(crate) fn begin(&mut self, family: &Family) {
        self.family = family.name;
        let Family { name, kind, help, .. } = family;
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.text()));
    }

    /// Adds a sample.
    pub(crate) fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.suffixed("", labels, value);
    }

    /// Begins a family of which there is one sample, without labels.
    pub(crate) fn single(&mut self, family: &Family, value: f64) {
        self.begin(family);
        self.sample(&[], value);
    }

    /// A histogram without labels: for each class its upper bound (none for the last) and how many are in it, and the
    /// sum of all.
    pub(crate) fn histogram(
        &mut self,
        family: &Family,
        classes: impl Iterator<Item = (Option<f64>, u64)>,
        sum: f64,
    ) {
        self.begin(family);
        let mut count = 0;
        for (bound, within) in classes {
            count += within;
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| bound.to_string());
            self.suffixed("_bucket", &[("le", &bound)], float(count));
        }
        self.suffixed("_sum", &[], sum);
        self.suffixed("_count", &[], float(count));
    }

    /// The text.
    pub(crate) fn finish(self) -> String {
        self.text
    }

    fn suffixed(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        let family = self.family;
        self.write(format_args!("{family}{suffix}"));
        for (index, (label, text)) in labels.iter().enumerate() {
            let separator = if index == 0 { '{' } else { ',' };
            self.write(format_args!("{separator}{label}=\"{}\"", escape(text)));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        self.write(format_args!("{end} {value}\n"));
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.text.write_fmt(text).expect("a string takes all that is written");
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// As Prometheus has numbers.
#[expect(clippy::cast_precision_loss, reason = "Prometheus has floats only; exact up to 2^53")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// As [`float`], of an offset or a time.
#[expect(clippy::cast_precision_loss, reason = "Prometheus has floats only; exact up to 2^53")]
pub(crate) fn signed_float(value: i64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::names::Kind;

    const LAG: Family = Family { name: "lag", kind: Kind::Gauge, help: "How far behind", labels: &["group"] };
    const TIME: Family = Family { name: "time", kind: Kind::Histogram, help: "How long", labels: &[] };

    #[test]
    fn labels_from_outside_cannot_break_the_text() {
        let mut text = Exposition::default();
        text.begin(&LAG);
        text.sample(&[("group", "a\"b\\c\nd"), ("partition", "0")], 3.0);
        text.sample(&[], 1.0);
        let expected = "# HELP lag How far behind\n# TYPE lag gauge\n\
                        lag{group=\"a\\\"b\\\\c\\nd\",partition=\"0\"} 3\nlag 1\n";
        assert_eq!(text.finish(), expected);
    }

    #[test]
    fn the_buckets_of_a_histogram_are_cumulative() {
        let mut text = Exposition::default();
        text.histogram(&TIME, [(Some(0.5), 2), (Some(1.0), 0), (None, 3)].into_iter(), 7.25);
        let expected = "# HELP time How long\n# TYPE time histogram\n\
                        time_bucket{le=\"0.5\"} 2\ntime_bucket{le=\"1\"} 2\ntime_bucket{le=\"+Inf\"} 5\n\
                        time_sum 7.25\ntime_count 5\n";
        assert_eq!(text.finish(), expected);
    }
}
