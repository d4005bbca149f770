//! Published tables that can and cannot be.

// Helpers of tests may stop the test, like the tests themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use vit_metrics::*;

/// The tables of `spec/mae.md` 10.4: the first as it was published, mistakes and spellings
/// included, the second of the repository's current state.
const PUBLISHED: &str = "
| set | row | macroP | macroR | macroF1 | Acc | MCC |
|---|---|---|---|---|---|---|
| GastroVision-22 test | GastroVision baseline | 73,38 | 62,31 | 65,04 | 82,03 | 79,89 |
| GastroVision-22 test | ours | 74,47 | 75,69 | **87,37** | 85,37 | 83,69 |
| HK-16 | Guo 2024 | 73,68±,20 | 75,00±,20 | 73,39±,30 | 88,92±,40 | – |
| HK-16 | ours | 88.56±,62 | 89.35±,69 | 88.75±,65 | 93.72±,29 | 93.18±,32 |
";
const CURRENT: &str = "
set;model;P;R;F1;Acc;MCC
GV-22;random init;38.41;43.53;38.65;50.06;45.98
GV-22;ImageNet MAE;73.96;70.28;70.32;82.72;80.74
GV-22;endoscopy MAE;74.01;79.20;75.72;84.44;82.78
GV-22;endoscopy MAE + preproc.;75.13;81.78;77.40;84.63;83.02
HK-23;random init;47.55±1.28;50.48±.57;47.57±.94;72.16±.45;70.08±.55
HK-23;ImageNet MAE;73.01±3.01;63.15±.76;62.01±.40;89.64±.31;88.77±.33
";

#[test]
fn the_impossible_row_is_found_and_no_other() {
    let found = check_table(PUBLISHED, Task::SingleLabel).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].row, "GastroVision-22 test, ours");
    assert!(
        found[0]
            .message
            .starts_with("macro-F1 0.8737 is above (macro-P 0.7447 + macro-R 0.7569) / 2 = 0.7508")
    );
    assert_eq!(check_table(CURRENT, Task::SingleLabel).unwrap(), vec![]);
}

#[test]
fn every_rule_finds_its_violation() {
    let first = |text: &str| {
        let found = check_table(text, Task::SingleLabel).unwrap();
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        found[0].message.clone()
    };
    assert!(first("model,Acc,micro-F1\nx,0.90,0.92").contains("micro-averages are the accuracy"));
    assert!(first("model,acc,weighted recall\nx,0.90,0.80").contains("weighted by support"));
    assert!(first("model,R,balanced accuracy\nx,0.90,0.80").contains("balanced accuracy"));
    assert!(first("model,acc,kappa\nx,0.80,0.85").contains("above the accuracy"));
    assert!(first("model,mcc,kappa\nx,0.50,0.55").contains("above |MCC|"));
    assert!(first("model,P,R,F1\nx,0.95,0.95,0.85").contains("is below"));
    assert!(first("model,auc\nx,1.20").contains("outside [0, 1]"));
    assert!(first("model\tAcc\tACC\nx\t85.37\t83.69").contains("given twice"));
    // 0.85 of 7 samples cannot be: 6 of 7 are 0.857.
    assert!(first("model,acc,n\nx,0.850,7").contains("no whole number"));
    // Several findings per sample: accuracy and micro-F1 are different things.
    let multi = check_table("model,Acc,micro-F1\nx,0.90,0.70", Task::MultiLabel).unwrap();
    assert_eq!(multi, vec![]);
}

/// Text around tables, tables of other things, and every table of results.
#[test]
fn tables_are_found_in_a_document() {
    let other = "# Report\n\nTwo | words.\n\n| name | size |\n|---|---|\n| x | big |\n\nText.\n";
    let second = "| model | P | R | F1 |\n|:--|--:|--:|--:|\n| y | 50 | 50 | 60 |\n\nEnd.\n";
    let found = check_table(&format!("{other}{PUBLISHED}\n{second}"), Task::SingleLabel).unwrap();
    let rows: Vec<&str> = found.iter().map(|found| found.row.as_str()).collect();
    assert_eq!(rows, ["GastroVision-22 test, ours", "y"]);
    let table = PublishedTable::parse(&format!("{other}{second}")).unwrap();
    assert_eq!(table.rows.len(), 1);
    let error = check_table(other, Task::SingleLabel).unwrap_err().to_string();
    assert!(error.contains("no column of [\"name\", \"size\"]"), "{error}");
}

#[test]
fn rounding_is_no_inconsistency() {
    let found = check_table("m,P,R,F1,acc,micro-F1\nx,70.1,70.1,70.2,85.3,85.4", Task::SingleLabel);
    assert_eq!(found.unwrap(), vec![]);
}

#[test]
fn unreadable_tables_say_why() {
    let error = |text: &str| check_table(text, Task::SingleLabel).unwrap_err().to_string();
    assert!(error("").contains("no column"));
    assert!(error("model,size\nx,3").contains("no column"));
    assert_eq!(error("model,acc\nx,good"), r#"table: row 1: "good" is no number"#);
    assert_eq!(error("model,acc\nx,1,2"), "table: row 1 has 3 cells, the header 2");
    assert!(error("model,acc\nx,NaN").contains("not finite"));
}

#[test]
fn a_matrix_is_compared_with_the_numbers_beside_it() {
    let matrix = ConfusionMatrix::from_rows(vec![vec![50, 10], vec![5, 35]]).unwrap();
    let row = |quantity, value| [Published { quantity, value, rounding: 0.005 }];
    assert!(check_matrix("x", &matrix, &row(Quantity::Accuracy, 0.85)).is_empty());
    assert_eq!(check_matrix("x", &matrix, &row(Quantity::Accuracy, 0.86)).len(), 1);
    assert_eq!(check_matrix("x", &matrix, &row(Quantity::Mcc, 0.9)).len(), 1);
    assert_eq!(mcc_bounds(&[1, 2], &[2, 2]), None);
}

proptest! {
    /// Whatever the data, our own reports are consistent, and MCC is within its bounds.
    #[test]
    fn true_numbers_pass(cells in prop::collection::vec(0_u64..20, 9)) {
        let rows = cells.chunks(3).map(<[u64]>::to_vec).collect();
        let matrix = ConfusionMatrix::from_rows(rows).unwrap();
        let names = ["a", "b", "c"].map(String::from).to_vec();
        let mut metric = SingleLabel::new(names).unwrap().with_zero_division(ZeroDivision::Zero);
        for (truth, row) in matrix.rows().iter().enumerate() {
            for (decided, &times) in row.iter().enumerate() {
                for _ in 0..times {
                    let scores = [0, 1, 2].map(|class| f32::from(u8::from(class == decided)));
                    metric.update(&scores, &[truth]).unwrap();
                }
            }
        }
        let report = metric.compute().unwrap();
        prop_assert_eq!(check_report(&report), vec![]);
        let number = |quantity, value: Value| {
            value.defined().map(|value| Published { quantity, value, rounding: 0.0 })
        };
        let numbers: Vec<Published> = [
            number(Quantity::MacroPrecision, report.precision_macro.value),
            number(Quantity::MacroRecall, report.recall_macro.value),
            number(Quantity::MacroF1, report.f1_macro.value),
            number(Quantity::Accuracy, report.accuracy.value),
            number(Quantity::Mcc, mcc(&matrix)),
            number(Quantity::Kappa, cohen_kappa(&matrix, KappaWeights::None)),
            number(Quantity::Samples, Value::Defined(matrix.total() as f64)),
        ].into_iter().flatten().collect();
        let classes_everywhere = matrix.support().iter().zip(matrix.predicted()).all(|(t, p)| t + p > 0);
        if classes_everywhere {
            prop_assert_eq!(check_row("true", &numbers, Task::SingleLabel), vec![]);
        }
        if let (Some((low, high)), Value::Defined(mcc)) =
            (mcc_bounds(&matrix.support(), &matrix.predicted()), mcc(&matrix))
        {
            prop_assert!(low <= mcc + 1e-12 && mcc <= high + 1e-12);
        }
    }
}
