//! Endoscopic pictures of the gut.

mod gastrovision;
mod hyperkvasir;
mod ssl_csv;

pub use gastrovision::{GastroVision, GastroVisionClasses};
pub use hyperkvasir::{HyperKvasir, HyperKvasirClasses, HyperKvasirPart, HyperKvasirUnlabelled};
pub use ssl_csv::SslEndoscopyCsv;

/// A picture's path with each extension it may have been converted to, its own first.
fn with_extensions(path: &str) -> Vec<String> {
    let mut paths = vec![path.to_owned()];
    if let Some((stem, extension)) = path.rsplit_once('.') {
        let others = ["jpg", "png"].into_iter().filter(|other| *other != extension);
        paths.extend(others.map(|other| format!("{stem}.{other}")));
    }
    paths
}
