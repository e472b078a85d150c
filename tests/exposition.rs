//! Prometheus' text format, read to the letter: what a lenient reader passes over is an error here.
//!
//! What always holds of a text that is read: each metric comes once, with its help and type before its samples; names,
//! labels and numbers are well formed; no series comes twice; the buckets of a histogram are cumulative and end with its
//! count.

use std::collections::BTreeMap;

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its name, of a histogram with `_bucket`, `_sum` or `_count`.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// A whole text.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    /// Type and help of each metric, by name.
    pub families: BTreeMap<String, (String, String)>,
    /// The samples, in their order.
    pub samples: Vec<Sample>,
}

impl Exposition {
    /// Reads a text.
    ///
    /// # Errors
    /// The line that is wrong, and why.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut read = Self::default();
        let mut family = None;
        if !text.ends_with('\n') {
            return Err("the last line has no end".to_owned());
        }
        for line in text.lines().filter(|line| !line.is_empty()) {
            let at = |why: &str| format!("{why}: {line}");
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').ok_or_else(|| at("no help"))?;
                if !is_name(name) || read.families.contains_key(name) {
                    return Err(at("a bad name, or the second metric of this name"));
                }
                read.families.insert(name.to_owned(), (String::new(), help.to_owned()));
                family = Some(name.to_owned());
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').ok_or_else(|| at("no type"))?;
                let known = ["counter", "gauge", "histogram", "summary"].contains(&kind);
                if !known || family.as_deref() != Some(name) {
                    return Err(at("an unknown type, or no help before it"));
                }
                kind.clone_into(&mut read.families.get_mut(name).expect("it was just put in").0);
            } else {
                let sample = parse_sample(line).ok_or_else(|| at("not a sample"))?;
                let family = family.as_deref().ok_or_else(|| at("a sample of no metric"))?;
                let kind = &read.families[family].0;
                let suffixes: &[&str] = match kind.as_str() {
                    "histogram" => &["_bucket", "_sum", "_count"],
                    "summary" => &["", "_sum", "_count"],
                    _ => &[""],
                };
                if !suffixes.iter().any(|suffix| sample.name == format!("{family}{suffix}")) {
                    return Err(at("a sample of another metric than was begun"));
                }
                read.samples.push(sample);
            }
        }
        read.check_series()?;
        read.check_histograms()?;
        Ok(read)
    }

    /// The value of a series with exactly these labels.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let is_it = |sample: &&Sample| sample.name == name && sample.has_exactly(labels);
        self.samples.iter().find(is_it).map(|sample| sample.value)
    }

    /// The series of a name that have these labels, and others.
    #[must_use]
    pub fn series(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&Sample> {
        let is_one = |sample: &&Sample| sample.name == name && sample.has(labels);
        self.samples.iter().filter(is_one).collect()
    }

    /// The values of the series of a name that have these labels, by another label.
    #[must_use]
    pub fn by(&self, label: &str, name: &str, labels: &[(&str, &str)]) -> BTreeMap<String, f64> {
        let series = self.series(name, labels).into_iter();
        series.filter_map(|sample| Some((sample.labels.get(label)?.clone(), sample.value))).collect()
    }

    fn check_series(&self) -> Result<(), String> {
        let mut seen = std::collections::BTreeSet::new();
        for sample in &self.samples {
            if !seen.insert((&sample.name, &sample.labels)) {
                return Err(format!("a series comes twice: {sample:?}"));
            }
        }
        let without = self.families.iter().find(|(_, (kind, help))| kind.is_empty() || help.is_empty());
        without.map_or(Ok(()), |(name, _)| Err(format!("{name} has no type or no help")))
    }

    fn check_histograms(&self) -> Result<(), String> {
        let histograms = self.families.iter().filter(|(_, (kind, _))| kind == "histogram");
        for (name, _) in histograms {
            let mut last: BTreeMap<BTreeMap<String, String>, f64> = BTreeMap::new();
            for bucket in self.series(&format!("{name}_bucket"), &[]) {
                let mut labels = bucket.labels.clone();
                let bound =
                    labels.remove("le").ok_or_else(|| format!("a bucket without a bound: {bucket:?}"))?;
                let below = last.insert(labels.clone(), bucket.value).unwrap_or(0.0);
                if bucket.value < below {
                    return Err(format!("buckets are not cumulative: {bucket:?}"));
                }
                let labels: Vec<(&str, &str)> =
                    labels.iter().map(|(key, value)| (&**key, &**value)).collect();
                let count = self.value(&format!("{name}_count"), &labels);
                if bound == "+Inf" && count != Some(bucket.value) {
                    return Err(format!("the last bucket is not the count: {bucket:?}"));
                }
            }
        }
        Ok(())
    }
}

impl Sample {
    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(label, value)| self.labels.get(*label).is_some_and(|found| found == value))
    }

    fn has_exactly(&self, labels: &[(&str, &str)]) -> bool {
        self.labels.len() == labels.len() && self.has(labels)
    }
}

fn is_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}

fn parse_sample(line: &str) -> Option<Sample> {
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = parse_quoted(after)?;
            if !is_name(label) || label.contains(':') || labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            if let Some(end) = after.strip_prefix('}') {
                rest = end;
                break;
            }
            rest = after.strip_prefix(',')?;
        }
    }
    let value = match rest.strip_prefix(' ')? {
        "+Inf" => f64::INFINITY,
        number if number.starts_with(|c: char| c.is_ascii_digit() || c == '-') => number.parse().ok()?,
        _ => return None,
    };
    is_name(name).then(|| Sample { name: name.to_owned(), labels, value })
}

/// A label's value up to its closing quote, and what comes after that.
fn parse_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                same @ ('\\' | '"') => same,
                _ => return None,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# HELP lag How far\n# TYPE lag gauge\nlag{group=\"a\\\"b\\\\\\n\"} 3\nlag 1\n\n\
                        # HELP t How long\n# TYPE t histogram\nt_bucket{le=\"1\"} 2\nt_bucket{le=\"+Inf\"} 3\nt_sum 4.5\nt_count 3\n";

    #[test]
    fn a_text_is_read_as_it_is_meant() {
        let read = Exposition::parse(GOOD).expect("well formed");
        assert_eq!(read.value("lag", &[("group", "a\"b\\\n")]), Some(3.0));
        assert_eq!(read.value("lag", &[]), Some(1.0));
        assert_eq!(read.by("le", "t_bucket", &[]), [("+Inf".to_owned(), 3.0), ("1".to_owned(), 2.0)].into());
        assert_eq!(read.families["t"], ("histogram".to_owned(), "How long".to_owned()));
    }

    #[test]
    fn what_a_lenient_reader_passes_over_is_an_error() {
        for (good, bad) in [
            ("lag 1\n", "lag{} 1\n"),
            ("lag 1\n", "lag one\n"),
            ("lag 1\n", "lag NaN\n"),
            ("lag 1\n", "log 1\n"),
            ("lag 1\n", "lag 1\nlag 2\n"),
            ("# HELP lag How far\n", ""),
            ("# TYPE lag gauge\n", ""),
            ("# TYPE lag gauge", "# TYPE lag thing"),
            ("# HELP t How long\n# TYPE t histogram", "# HELP lag How long\n# TYPE lag histogram"),
            ("a\\\"b", "a\"b"),
            ("{le=\"1\"} 2", "{le=\"1\"} 4"),
            ("t_count 3", "t_count 4"),
            ("t_count 3\n", "t_count 3"),
        ] {
            assert!(GOOD.contains(good), "{good}");
            let broken = GOOD.replacen(good, bad, 1);
            assert!(Exposition::parse(&broken).is_err(), "{broken}");
        }
    }
}
