//! What must hold between metrics of one evaluation. All rules are linear or hold for means, so
//! they also hold for means over folds and seeds.

use super::{Inconsistency, Published, Quantity};
use crate::Task;

/// The numbers of a row by quantity.
struct Row<'a> {
    name: &'a str,
    numbers: &'a [Published],
    found: Vec<Inconsistency>,
}

impl Row<'_> {
    fn get(&self, quantity: Quantity) -> Option<Published> {
        self.numbers.iter().find(|number| number.quantity == quantity).copied()
    }

    fn report(&mut self, message: String) {
        self.found.push(Inconsistency { row: self.name.to_owned(), message });
    }

    /// Two quantities that are one and the same.
    fn equal(&mut self, a: Quantity, b: Quantity, why: &str) {
        if let (Some(x), Some(y)) = (self.get(a), self.get(b))
            && (x.value - y.value).abs() > slack(x.rounding + y.rounding)
        {
            self.report(format!("{a:?} {} and {b:?} {} differ, but {why}", show(x), show(y)));
        }
    }
}

/// Room for the rounding of the arithmetic here.
fn slack(rounding: f64) -> f64 {
    rounding * (1.0 + 1e-9) + 1e-12
}

fn show(number: Published) -> String {
    format!("{:.6}", number.value).trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Checks the numbers of one published row.
#[must_use]
pub fn check_row(name: &str, numbers: &[Published], task: Task) -> Vec<Inconsistency> {
    let mut row = Row { name, numbers, found: Vec::new() };
    ranges(&mut row);
    repeated(&mut row);
    macro_f1(&mut row);
    if task == Task::SingleLabel {
        for micro in [Quantity::MicroPrecision, Quantity::MicroRecall, Quantity::MicroF1] {
            let why = "in a single-label task micro-averages are the accuracy";
            row.equal(Quantity::Accuracy, micro, why);
        }
        let why = "recall weighted by support is the accuracy";
        row.equal(Quantity::Accuracy, Quantity::WeightedRecall, why);
        let why = "the mean recall of the classes is the balanced accuracy";
        row.equal(Quantity::BalancedAccuracy, Quantity::MacroRecall, why);
        kappa(&mut row);
        whole_samples(&mut row);
    }
    row.found
}

fn ranges(row: &mut Row<'_>) {
    for number in row.numbers {
        let (low, high) = match number.quantity {
            Quantity::Mcc | Quantity::Kappa => (-1.0, 1.0),
            Quantity::Samples => (0.0, f64::INFINITY),
            _ => (0.0, 1.0),
        };
        let slack = slack(number.rounding);
        if !(number.value >= low - slack && number.value <= high + slack) {
            let quantity = number.quantity;
            row.report(format!("{quantity:?} {} is outside [{low}, {high}]", show(*number)));
        }
    }
}

fn repeated(row: &mut Row<'_>) {
    for (place, a) in row.numbers.iter().enumerate() {
        let later = row.numbers.iter().skip(place + 1).find(|b| b.quantity == a.quantity);
        if let Some(b) = later
            && (a.value - b.value).abs() > slack(a.rounding + b.rounding)
        {
            let quantity = a.quantity;
            row.report(format!("{quantity:?} is given twice: {} and {}", show(*a), show(*b)));
        }
    }
}

/// Per class F1 = 2PR/(P + R) is concave in (P, R), so it lies between P + R − 1 (its value
/// between the corners of the unit square) and (P + R)/2 (arithmetic against harmonic mean).
fn macro_f1(row: &mut Row<'_>) {
    let (Some(p), Some(r), Some(f1)) = (
        row.get(Quantity::MacroPrecision),
        row.get(Quantity::MacroRecall),
        row.get(Quantity::MacroF1),
    ) else {
        return;
    };
    let half = f64::midpoint(p.value, r.value);
    if f1.value - half > slack(f1.rounding + f64::midpoint(p.rounding, r.rounding)) {
        row.report(format!(
            "macro-F1 {} is above (macro-P {} + macro-R {}) / 2 = {half:.6}, which cannot be: the \
             F1 of a class is at most the mean of its precision and recall",
            show(f1),
            show(p),
            show(r)
        ));
    }
    let least = p.value + r.value - 1.0;
    if least - f1.value > slack(f1.rounding + p.rounding + r.rounding) {
        row.report(format!(
            "macro-F1 {} is below macro-P {} + macro-R {} − 1 = {least:.6}, which cannot be: the F1 \
             of a class is at least its precision + recall − 1",
            show(f1),
            show(p),
            show(r)
        ));
    }
}

/// κ = (a − e)/(1 − e) is at most the accuracy a; and |κ| ≤ |MCC|, as Aczél's inequality shows for
/// the two denominators.
fn kappa(row: &mut Row<'_>) {
    let Some(kappa) = row.get(Quantity::Kappa) else { return };
    if let Some(accuracy) = row.get(Quantity::Accuracy)
        && kappa.value - accuracy.value > slack(kappa.rounding + accuracy.rounding)
    {
        let text = format!("kappa {} is above the accuracy {}", show(kappa), show(accuracy));
        row.report(text);
    }
    if let Some(mcc) = row.get(Quantity::Mcc)
        && kappa.value.abs() - mcc.value.abs() > slack(kappa.rounding + mcc.rounding)
    {
        row.report(format!("|kappa| {} is above |MCC| {}", show(kappa), show(mcc)));
    }
}

/// Accuracy × n must be a whole number of samples (the GRIM test of Brown and Heathers 2017).
fn whole_samples(row: &mut Row<'_>) {
    let (Some(accuracy), Some(samples)) = (row.get(Quantity::Accuracy), row.get(Quantity::Samples))
    else {
        return;
    };
    let right = accuracy.value * samples.value;
    if samples.value > 0.0
        && (right - right.round()).abs() > slack(accuracy.rounding * samples.value)
    {
        row.report(format!(
            "accuracy {} of {} samples is no whole number of right ones: {right:.3}",
            show(accuracy),
            samples.value
        ));
    }
}
