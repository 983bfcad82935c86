//! What the `metrics` facade is told: counters and gauges, each one number that is changed without a
//! lock.
//!
//! Nothing is ever forgotten: labels come from the config and from closed sets, so that there are only so
//! many. Histograms are in `stats`; one that is asked for here counts nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use papaya::HashMap;

use super::page::{Kind, Number, Page};

/// All numbers of a process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers(Arc<Kept>);

#[derive(Debug, Default)]
struct Kept {
    counters: Table,
    /// The bits of floating-point numbers.
    gauges: Table,
    helps: Mutex<BTreeMap<String, SharedString>>,
}

type Table = HashMap<Key, Arc<AtomicU64>>;

/// The samples of one metric, by their labels.
type Samples<'a> = BTreeMap<Vec<(&'a str, &'a str)>, u64>;

impl Numbers {
    /// Puts all of them on a page, in order.
    pub(super) fn render(&self, page: &mut Page) {
        let Kept {
            counters, gauges, ..
        } = &*self.0;
        self.render_table(counters, (Kind::Counter, Number::Whole), page);
        let real = |bits| Number::Real(f64::from_bits(bits));
        self.render_table(gauges, (Kind::Gauge, real), page);
    }

    fn render_table(
        &self,
        table: &Table,
        (kind, number): (Kind, impl Fn(u64) -> Number),
        page: &mut Page,
    ) {
        let table = table.pin();
        let mut families: BTreeMap<&str, Samples<'_>> = BTreeMap::new();
        for (key, value) in &table {
            let labels = key.labels().map(|label| (label.key(), label.value()));
            let samples = families.entry(key.name()).or_default();
            samples.insert(labels.collect(), value.load(Relaxed));
        }
        for (name, samples) in families {
            let help = self.helps().get(name).cloned();
            page.family(name, kind, help.as_deref().unwrap_or_default());
            for (labels, value) in samples {
                page.sample(name, &labels, number(value));
            }
        }
    }

    fn describe(&self, name: &KeyName, help: SharedString) {
        self.helps().insert(name.as_str().to_owned(), help);
    }

    fn helps(&self) -> MutexGuard<'_, BTreeMap<String, SharedString>> {
        let helps = self.0.helps.lock();
        helps.unwrap_or_else(PoisonError::into_inner)
    }
}

fn number_of(table: &Table, key: &Key) -> Arc<AtomicU64> {
    let table = table.pin();
    // Looked for first: to put it there takes a copy of the key.
    let known = table.get(key);
    Arc::clone(known.unwrap_or_else(|| table.get_or_insert_with(key.clone(), Arc::default)))
}

impl Recorder for Numbers {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, help);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, help);
    }

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(number_of(&self.0.counters, key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(number_of(&self.0.gauges, key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_in_order_with_their_help_and_labels() {
        let numbers = Numbers::default();

        metrics::with_local_recorder(&numbers, || {
            metrics::describe_counter!("b_total", "Things\nof b");
            metrics::counter!("b_total", "of" => "y\"").increment(2);
            metrics::counter!("b_total", "of" => "x").increment(1);
            metrics::counter!("b_total", "of" => "x").increment(3);
            metrics::counter!("a_total").increment(0);
            metrics::gauge!("c").set(1.5);
            metrics::gauge!("c").increment(1.0);
            metrics::histogram!("d").record(1.0);
        });

        let mut page = Page::default();
        numbers.render(&mut page);
        assert_eq!(
            page.finish(),
            "# HELP a_total \n# TYPE a_total counter\na_total 0\n\
             # HELP b_total Things\\nof b\n# TYPE b_total counter\n\
             b_total{of=\"x\"} 4\nb_total{of=\"y\\\"\"} 2\n\
             # HELP c \n# TYPE c gauge\nc 2.5\n"
        );
    }
}
