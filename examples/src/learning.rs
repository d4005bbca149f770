use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use vit_metrics::{LearningPlot, Series};
use vit_train::LOG_FILE;

/// Points of a curve over updates; more could not be told apart.
const MOST_POINTS: usize = 300;
/// Metrics of the report that are shown over epochs.
const METRICS: [&str; 4] = ["auroc_macro", "accuracy", "f1_macro", "mcc"];

/// A run's log.
pub(crate) struct RunLog {
    updates: Vec<Value>,
    epochs: Vec<Value>,
}

impl RunLog {
    /// The log beside a model file; `None` where there is none.
    pub(crate) fn beside(checkpoint: &Path) -> Result<Option<Self>> {
        let folder = checkpoint.parent().unwrap_or(Path::new("."));
        let path = folder.join(LOG_FILE);
        if !path.is_file() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        let (mut updates, mut epochs) = (Vec::new(), Vec::new());
        let last = text.lines().count();
        for (place, line) in text.lines().enumerate() {
            let line: Value = match serde_json::from_str(line) {
                Ok(line) => line,
                // A run that was killed may have left half a line.
                Err(_) if place + 1 == last => break,
                Err(error) => {
                    let place = format!("{}, line {}", path.display(), place + 1);
                    return Err(error).context(place);
                }
            };
            if line.get("update").is_some() {
                updates.push(line);
            } else if line.get("train_loss").is_some() {
                epochs.push(line);
            }
        }
        Ok(Some(Self { updates, epochs }))
    }

    /// Curves over epochs and updates; those without a point are left out.
    pub(crate) fn plots(&self) -> Vec<LearningPlot> {
        let epoch = |line: &Value| number(line, "/epoch").map(|epoch| epoch + 1.);
        let over_epochs = |name: &str, pointer: &str| {
            let points = self.epochs.iter().filter_map(|line| {
                // A diverged epoch has null: it interrupts the line.
                line.pointer(pointer)?;
                Some((epoch(line)?, number(line, pointer).unwrap_or(f64::NAN)))
            });
            Series::new(name, points)
        };
        let step = self.updates.len().div_ceil(MOST_POINTS).max(1);
        let over_updates = |name: &str, pointer: &str| {
            let points = self.updates.iter().step_by(step).filter_map(|line| {
                Some((number(line, "/update")?, number(line, pointer).unwrap_or(f64::NAN)))
            });
            Series::new(name, points)
        };
        let metrics = METRICS
            .iter()
            .map(|metric| over_epochs(metric, &format!("/validation/report/{metric}/value")));
        let extra = self.extra();
        let extra = extra.iter().map(|name| {
            over_epochs(
                name,
                &format!("/validation/extra/{}", name.replace('~', "~0").replace('/', "~1")),
            )
        });
        let losses = vec![
            over_epochs("training", "/train_loss"),
            over_epochs("validation", "/validation/loss"),
        ];
        let plot = |title: &str, x_name: &str, series: Vec<Series>| LearningPlot {
            title: title.to_string(),
            x_name: x_name.to_string(),
            y_name: String::new(),
            series: series.into_iter().filter(|series| !series.points.is_empty()).collect(),
        };
        let plots = [
            plot("Loss", "epoch", losses),
            plot("Validation", "epoch", metrics.chain(extra).collect()),
            plot("Loss of an update", "update", vec![over_updates("training", "/loss")]),
            plot("Learning rate", "update", vec![over_updates("before the groups' scales", "/lr")]),
        ];
        plots.into_iter().filter(|plot| !plot.series.is_empty()).collect()
    }

    /// Names of the values that the task reported beside its metrics.
    fn extra(&self) -> Vec<String> {
        let first = self.epochs.first().and_then(|line| line.pointer("/validation/extra"));
        let names = first.and_then(Value::as_object).map(|extra| extra.keys().cloned().collect());
        names.unwrap_or_default()
    }

    /// How the run went, as facts.
    pub(crate) fn facts(&self) -> Vec<(String, String)> {
        let fact = |name: &str, value: String| (name.to_string(), value);
        let mut facts = vec![
            fact("Epochs", self.epochs.len().to_string()),
            fact("Updates", self.updates.len().to_string()),
        ];
        let best = self.epochs.iter().rfind(|line| line.get("best") == Some(&Value::Bool(true)));
        if let Some(epoch) = best.and_then(|line| number(line, "/epoch")) {
            facts.push(fact("Best epoch, by validation", (epoch + 1.).to_string()));
        }
        if let Some(skipped) = self.epochs.last().and_then(|line| number(line, "/skipped")) {
            facts.push(fact("Batches skipped for want of a finite value", skipped.to_string()));
        }
        facts
    }
}

fn number(line: &Value, pointer: &str) -> Option<f64> {
    line.pointer(pointer).and_then(Value::as_f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(text: &str) -> Result<Option<RunLog>> {
        let folder = std::env::temp_dir().join(format!("vitalight-log-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(LOG_FILE), text).unwrap();
        let log = RunLog::beside(&folder.join("best.safetensors"));
        std::fs::remove_dir_all(&folder).unwrap();
        log
    }

    #[test]
    fn the_log_of_a_killed_run_is_read_as_far_as_it_goes() {
        let whole = concat!(
            r#"{"epoch":0,"batch":0,"update":1,"loss":0.5,"lr":0.1,"grad_norm":1}"#,
            "\n",
            r#"{"epoch":0,"batch":1,"non_finite":"loss","ids":["a"]}"#,
            "\n",
            r#"{"epoch":0,"train_loss":0.5,"skipped":1,"validation":{"loss":0.4,"samples":2,"report":{"mcc":{"value":{"undefined":"no_samples"}}},"extra":{"worst:mcc@a/b":0.25}},"best":true}"#,
            "\n",
        );
        let read = log(&format!("{whole}{{\"epoch\":1,")).unwrap().unwrap();
        let plots = read.plots();
        let titles: Vec<&str> = plots.iter().map(|plot| plot.title.as_str()).collect();
        assert_eq!(titles, ["Loss", "Validation", "Loss of an update", "Learning rate"]);
        assert_eq!(plots[0].series[1].points, [(1., Some(0.4))]);
        let named = |name: &str| {
            let series = plots[1].series.iter().find(|series| series.name == name).unwrap();
            series.points.clone()
        };
        assert_eq!(named("worst:mcc@a/b"), [(1., Some(0.25))]);
        // An undefined value is a gap, not a zero.
        assert_eq!(named("mcc"), [(1., None)]);
        assert!(read.facts().contains(&("Best epoch, by validation".to_string(), "1".to_string())));

        let error = log(&format!("no json\n{whole}")).err().unwrap().to_string();
        assert!(error.contains("log.jsonl, line 1"), "{error}");
        assert!(RunLog::beside(Path::new("/nowhere/best.safetensors")).unwrap().is_none());
    }
}
