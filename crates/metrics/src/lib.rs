#![doc = include_str!("../README.md")]

mod agreement;
mod averages;
mod calibration;
mod confusion;
mod consistency;
mod curves;
mod error;
mod evaluator;
mod files;
mod image_quality;
mod label_sets;
mod measure;
mod metric;
mod multi_class;
mod multi_label;
mod operating_point;
mod overlap;
mod page;
mod predictions;
mod probability;
mod ranking;
mod regression;
mod report;
mod single_label;
mod subgroups;
mod table;
mod uncertainty;
mod value;

pub use agreement::{KappaWeights, cohen_kappa};
pub use averages::{Average, CountScore, counts_at};
pub use calibration::{
    Binning, Calibration, CalibrationError, CalibrationMethod, GapNorm, ReliabilityBin, reliability,
};
pub use confusion::{BinaryCounts, ConfusionMatrix, ZeroDivision, mcc};
pub use consistency::{
    Inconsistency, Published, PublishedTable, Quantity, check_matrix, check_report, check_row,
    check_table, mcc_bounds,
};
pub use curves::{
    PrPoint, RocPoint, auroc_weighted, average_precision_weighted, partial_auroc,
    precision_recall_curve, roc_curve, sensitivity_at_specificity, specificity_at_sensitivity,
};
pub use error::{MetricsError, Result};
pub use evaluator::{AucMissing, Conventions, Evaluator, ScoreType};
pub use image_quality::{Plane, psnr, ssim};
pub use label_sets::{hamming_loss, subset_accuracy};
pub use measure::{Measure, Over};
pub use metric::{Batch, Metric, Targets};
pub use multi_class::{auroc_one_vs_one, auroc_one_vs_rest, top_k_accuracy};
pub use multi_label::MultiLabel;
pub use operating_point::{OperatingPoint, ThresholdRule};
pub use overlap::{EmptyTruth, mask_counts, mask_dice, mask_iou};
pub use page::{
    CalibrationChange, ClassCurves, ClassRow, EvaluationReport, LearningPlot, Mistake,
    OperatingRow, ReportBuilder, Section, Series,
};
pub use predictions::{Part, Predictions, RowTarget};
pub use probability::{brier_score, brier_score_classes, log_loss, log_loss_classes};
pub use ranking::{auroc, average_precision};
pub use regression::{Regression, kendall, pearson, regression, spearman};
pub use report::{ClassReport, Coverage, LeftOut, Report, Summary, Task};
pub use single_label::SingleLabel;
pub use subgroups::{Subgroup, Subgroups, UNKNOWN, worst_subgroup};
pub use uncertainty::{
    Band, Bootstrap, Comparison, Curve, DeLong, DeLongTest, Estimate, Interval, IntervalMethod,
    McNemar, Resampling, SeedSummary, bca_interval, clopper_pearson, delong, delong_test, holm,
    mcnemar, percentile_interval, summarise_seeds, wilson,
};
pub use value::{Undefined, Value};
