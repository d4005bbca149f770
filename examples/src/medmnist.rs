use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use vit_datasets::MedMnistInfo;

use crate::DataArgs;

/// Set and size of `breastmnist` or `breastmnist_224`.
fn parse(name: &str) -> Result<(&'static MedMnistInfo, u32)> {
    MedMnistInfo::of_file(Path::new(name)).filter(|_| !name.contains(['/', '.'])).with_context(|| {
        let known: Vec<&str> = MedMnistInfo::all().iter().map(|info| info.key).collect();
        format!(
            "--data medmnist:{name}: the sets are {}, and _64, _128 or _224 behind the name gives \
             larger pictures",
            known.join(", ")
        )
    })
}

/// The file of a `MedMNIST` set by its name, fetched if that was asked for.
pub(crate) fn file(args: &DataArgs, name: &str) -> Result<PathBuf> {
    let (info, size) = parse(name)?;
    let (file, _) = info.file(size).context("this size was never published")?;
    let path = args.data_dir.join(&file);
    if args.download {
        fetch(args, info, size, &file)?;
    } else if !path.is_file() {
        bail!("{} is not there; --download fetches it", path.display());
    }
    Ok(path)
}

/// Fetches the file, or what is still missing of it, and checks its MD5.
#[cfg(feature = "download")]
fn fetch(args: &DataArgs, info: &MedMnistInfo, size: u32, file: &str) -> Result<()> {
    use crate::progress::{count, counter};

    std::fs::create_dir_all(&args.data_dir).with_context(|| args.data_dir.display().to_string())?;
    let mut download =
        info.download(size, &args.data_dir).context("this size was never published")?;
    if let Some(mirror) = &args.mirror {
        download.url = format!("{}/{file}", mirror.trim_end_matches('/'));
    }
    // The library reads no environment; a program does what other programs do.
    let proxies = ["https_proxy", "HTTPS_PROXY"];
    if download.url.starts_with("https:") {
        download.proxy = proxies.iter().find_map(|name| std::env::var(name).ok());
    }
    println!("{}: {} ({})", info.card.name, info.card.licence, info.card.link);
    let bar = counter("bytes");
    let note = &mut |have: u64, total: Option<u64>| {
        count(&bar, have as usize, total.unwrap_or(have) as usize);
    };
    download.run(note)?;
    bar.finish_and_clear();
    Ok(())
}

#[cfg(not(feature = "download"))]
fn fetch(_: &DataArgs, info: &MedMnistInfo, size: u32, _: &str) -> Result<()> {
    let url = info.url(size).unwrap_or_default();
    bail!("--download: this build lacks the feature `download`; the file is at {url}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_by_name() {
        let of = |name: &str| parse(name).map(|(info, size)| (info.key, size));
        assert_eq!(of("breastmnist").unwrap(), ("breastmnist", 28));
        assert_eq!(of("PathMNIST_224").unwrap(), ("pathmnist", 224));
        for name in ["breast", "breastmnist_32", "", "../breastmnist", "breastmnist.npz"] {
            let message = of(name).unwrap_err().to_string();
            assert!(message.contains("breastmnist, ") && message.contains("_224"), "{message}");
        }
    }
}
