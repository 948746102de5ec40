//! The process's metrics: counters and gauges, shown in the Prometheus text format.
//!
//! Names are `<stage>_<what>_<unit>`, a counter's ends in `_total`. Bounded (I-10): at most [`SERIES_MAX`] series; what
//! comes after them counts into one series, `metrics_overflow_total`, so that a label can never fill the memory.
//! No label holds content (I-05).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;

/// Most series of one process.
pub const SERIES_MAX: usize = 2_000;

/// A number that only grows. Cheap to clone and to add to.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Clone)]
enum Series {
    Counter(Counter),
    Gauge(Gauge),
}

#[derive(Debug, Default)]
struct Family {
    help: String,
    /// By the labels as text, `{code="E-001"}` or empty.
    series: BTreeMap<String, Series>,
}

/// Families of metrics by name.
#[derive(Debug, Default)]
pub struct Metrics {
    families: Mutex<BTreeMap<String, Family>>,
}

static PROCESS: LazyLock<Metrics> = LazyLock::new(Metrics::default);

/// The metrics of this process.
#[must_use]
pub fn process() -> &'static Metrics {
    &PROCESS
}

/// The process's counter `name` with `labels`; made when it is new.
#[must_use]
pub fn counter(name: &str, help: &str, labels: &[(&str, &str)]) -> Counter {
    PROCESS.counter(name, help, labels)
}

/// The process's gauge `name` with `labels`; made when it is new.
#[must_use]
pub fn gauge(name: &str, help: &str, labels: &[(&str, &str)]) -> Gauge {
    PROCESS.gauge(name, help, labels)
}

impl Metrics {
    /// The counter `name` with `labels`.
    #[must_use]
    pub fn counter(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Counter {
        match self.series(name, help, labels, || Series::Counter(Counter::default())) {
            Some(Series::Counter(counter)) => counter,
            // a name used twice for two kinds, or too many series: counted in sight, never lost in silence
            _ => match self.series(OVERFLOW, OVERFLOW_HELP, &[], || Series::Counter(Counter::default())) {
                Some(Series::Counter(counter)) => counter,
                _ => Counter::default(),
            },
        }
    }

    /// The gauge `name` with `labels`; at the limit one that is not shown.
    #[must_use]
    pub fn gauge(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Gauge {
        match self.series(name, help, labels, || Series::Gauge(Gauge::default())) {
            Some(Series::Gauge(gauge)) => gauge,
            _ => Gauge::default(),
        }
    }

    fn series(&self, name: &str, help: &str, labels: &[(&str, &str)], make: fn() -> Series) -> Option<Series> {
        let (name, labels) = (cleaned(name), label_text(labels));
        let mut families = self.families.lock();
        if let Some(known) = families.get(&name).and_then(|family| family.series.get(&labels)) {
            return Some(known.clone());
        }
        let count: usize = families.values().map(|family| family.series.len()).sum();
        if count >= SERIES_MAX && name != OVERFLOW {
            return None;
        }
        let made = make();
        let family = families.entry(name).or_default();
        if family.series.values().next().is_some_and(|other| kind(other) != kind(&made)) {
            return None;
        }
        help.clone_into(&mut family.help);
        family.series.insert(labels, made.clone());
        Some(made)
    }

    /// All series in the Prometheus text format 0.0.4, sorted by name.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        for (name, family) in self.families.lock().iter() {
            let Some(first) = family.series.values().next() else { continue };
            text.push_str(&format!("# HELP {name} {}\n# TYPE {name} {}\n", family.help, kind(first)));
            for (labels, series) in &family.series {
                let value = match series {
                    Series::Counter(counter) => counter.get().to_string(),
                    Series::Gauge(gauge) => gauge.get().to_string(),
                };
                text.push_str(&format!("{name}{labels} {value}\n"));
            }
        }
        text
    }
}

const OVERFLOW: &str = "metrics_overflow_total";
const OVERFLOW_HELP: &str = "Counted into series beyond the limit of series.";

fn kind(series: &Series) -> &'static str {
    match series {
        Series::Counter(_) => "counter",
        Series::Gauge(_) => "gauge",
    }
}

/// Stage names have hyphens, metric names may not.
fn cleaned(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

fn label_text(labels: &[(&str, &str)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{}=\"{}\"", cleaned(name), escaped(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_help_type_and_values() {
        let metrics = Metrics::default();
        metrics.counter("a-b_records_total", "Records.", &[("code", "E\"1")]).add(2);
        metrics.counter("a-b_records_total", "Records.", &[("code", "E\"1")]).add(1);
        metrics.gauge("c_ms", "Time.", &[]).set(-4);
        assert_eq!(
            metrics.render(),
            "# HELP a_b_records_total Records.\n# TYPE a_b_records_total counter\na_b_records_total{code=\"E\\\"1\"} 3\n\
             # HELP c_ms Time.\n# TYPE c_ms gauge\nc_ms -4\n"
        );
    }

    /// I-10: a label that takes ever new values fills no memory, and what it counted is seen.
    #[test]
    fn series_are_bounded_and_the_rest_is_counted_in_sight() {
        let metrics = Metrics::default();
        for number in 0..SERIES_MAX + 10 {
            metrics.counter("x_total", "X.", &[("n", &number.to_string())]).add(1);
        }
        let text = metrics.render();
        assert!(text.contains("metrics_overflow_total 10\n"));
        assert_eq!(text.lines().filter(|line| line.starts_with("x_total")).count(), SERIES_MAX);
    }

    #[test]
    fn one_name_has_one_kind() {
        let metrics = Metrics::default();
        metrics.counter("x", "X.", &[]).add(1);
        metrics.gauge("x", "X.", &[("a", "b")]).set(9);
        assert!(!metrics.render().contains('9'));
    }
}
